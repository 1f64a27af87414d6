"""Plugin and conflist: whole, in this order, and only from an agent that can serve."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from steppe.agent.cni import framing, install
from steppe_lab.kubelet.cniconf import load_first


def test_what_is_installed_runs_and_can_be_loaded(tmp_path: Path) -> None:
    bin_dir, conf_dir = tmp_path / "bin", tmp_path / "net.d"
    written = install.install(bin_dir, conf_dir, Path("/run/x/cni.sock"))
    assert written == (bin_dir / "steppe", conf_dir / "10-steppe.conflist")
    done = subprocess.run(
        [bin_dir / "steppe"], env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["supportedVersions"] == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    network = load_first(conf_dir)
    assert network is not None
    assert (network.name, network.version) == ("steppe", "1.1.0")
    assert network.plugins == ({"type": "steppe", "socket": "/run/x/cni.sock"},)
    assert sorted(path.name for path in (*bin_dir.iterdir(), *conf_dir.iterdir())) == [
        "10-steppe.conflist",
        "steppe",
    ]


def test_a_static_plugin_is_installed_in_place_of_the_script(tmp_path: Path) -> None:
    given = tmp_path / "given"
    versions = '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}'
    given.write_text(f"#!/bin/sh\necho '{versions}'\n")
    given.chmod(0o755)
    bin_dir = tmp_path / "bin"
    install.install(bin_dir, tmp_path / "net.d", Path("/s"), given)
    assert (bin_dir / "steppe").read_bytes() == given.read_bytes()
    assert (bin_dir / "steppe").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho '{}'\n", "\x7fELF"])
def test_what_is_not_this_plugin_is_refused_and_the_old_one_stays(
    tmp_path: Path, text: str
) -> None:
    install.install(tmp_path / "bin", tmp_path / "net.d", Path("/s"))
    before = (tmp_path / "bin" / "steppe").read_bytes()
    given = tmp_path / "given"
    given.write_text(text)
    given.chmod(0o755)
    with pytest.raises(install.InstallError, match="give the one that came with this version"):
        install.install(tmp_path / "bin", tmp_path / "net.d", Path("/s"), given)
    assert (tmp_path / "bin" / "steppe").read_bytes() == before


def test_a_second_time_touches_nothing(tmp_path: Path) -> None:
    socket = Path("/run/x/cni.sock")
    install.install(tmp_path, tmp_path, socket)
    assert install.install(tmp_path, tmp_path, socket) == ()
    (tmp_path / "steppe").chmod(0o600)
    assert install.install(tmp_path, tmp_path, socket) == (tmp_path / "steppe",)


def test_a_runtime_that_knows_one_version_only_gets_one_that_it_takes(tmp_path: Path) -> None:
    # libcni before 1.2 (containerd 1.6 and 1.7) reads `cniVersion` alone.
    config = install.conflist(tmp_path, Path("/s"))
    assert config["cniVersion"] == "1.0.0"
    assert config["cniVersions"] == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]


PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


@pytest.mark.parametrize(
    ("answer", "versions", "chained"),
    [
        (["0.4.0", "1.0.0", "1.1.0"], ["0.4.0", "1.0.0", "1.1.0"], [PORTMAP]),
        # Debian 12's portmap 1.1.1: a result of 1.1.0 would be an error of the whole ADD.
        (["0.3.0", "0.3.1", "0.4.0", "1.0.0"], ["0.3.1", "0.4.0", "1.0.0"], [PORTMAP]),
        (["0.3.1", "0.4.0"], ["0.3.1", "0.4.0", "1.0.0", "1.1.0"], []),
        ("nonsense", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"], []),
    ],
)
def test_host_ports_are_chained_if_the_plugin_knows_the_version(
    tmp_path: Path, answer: object, versions: list[str], chained: list[object]
) -> None:
    text = json.dumps({"cniVersion": "1.0.0", "supportedVersions": answer})
    (tmp_path / "portmap").write_text(f"#!/bin/sh\ncat > /dev/null\necho '{text}'\n")
    (tmp_path / "portmap").chmod(0o755)
    config = install.conflist(tmp_path, Path("/s"))
    assert config["cniVersions"] == versions
    assert config["plugins"][1:] == chained


def test_without_the_plugin_there_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("in the way")
    with pytest.raises(install.InstallError, match="is it writable"):
        install.install(tmp_path / "bin", tmp_path / "net.d", Path("/s"))
    assert not (tmp_path / "net.d").exists()


def test_remove_takes_both_and_may_be_repeated(tmp_path: Path) -> None:
    install.install(tmp_path, tmp_path, Path("/s"))
    for _ in range(2):
        assert install.main(["--remove", f"--cni-bin={tmp_path}", f"--cni-conf={tmp_path}"]) == 0
    assert list(tmp_path.iterdir()) == []


async def test_by_hand_it_waits_for_a_ready_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = tmp_path / "cni.sock"
    options = [f"--cni-bin={tmp_path}/b", f"--cni-conf={tmp_path}/c", f"--socket={socket}"]
    assert await asyncio.to_thread(install.main, options) == 1
    assert "is the agent running" in capsys.readouterr().err
    why: dict[str, Any] = {"exit": 1, "stdout": {"code": 50, "msg": "no pod prefix yet"}}

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        assert request["env"] == {"CNI_COMMAND": "STATUS"}
        return why

    async with framing.serving(socket, answer):
        assert await asyncio.to_thread(install.main, options) == 1
        assert "no pod prefix yet" in capsys.readouterr().err
        assert not (tmp_path / "c").exists()
        why = {"exit": 0, "stdout": None}
        assert await asyncio.to_thread(install.main, options) == 0
    assert (tmp_path / "c" / "10-steppe.conflist").exists()

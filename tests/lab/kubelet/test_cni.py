"""libcni's side of the CNI specification, against a scripted plugin and Debian's own ones."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from steppe_lab import netns
from steppe_lab.kubelet.cni import Attachment, Cni, CniError
from steppe_lab.kubelet.cniconf import CniConfigError, load, load_first, parse, request
from steppe_lab.kubelet.sandbox import SandboxError, result_addresses

REFERENCE = Path("/usr/lib/cni")

# Notes each call in $LOG, one JSON object a line, and answers as the file $ANSWERS/COMMAND says.
FAKE = """#!/usr/bin/python3 -IS
import json, os, sys
stdin = json.load(sys.stdin)
env = {k: v for k, v in os.environ.items() if k.startswith("CNI_")}
name = os.path.basename(sys.argv[0])
with open(os.environ["LOG"], "a") as log:
    log.write(json.dumps({"plugin": name, "env": env, "in": stdin}) + "\\n")
answer = os.path.join(os.environ["ANSWERS"], name + "." + env["CNI_COMMAND"])
if os.path.exists(answer):
    print(open(answer).read())
    sys.exit(1)
if env["CNI_COMMAND"] == "ADD":
    previous = stdin.get("prevResult") or {"cniVersion": stdin["cniVersion"], "ips": [], "by": []}
    previous["by"] = previous["by"] + [name]
    print(json.dumps(previous))
"""


class World:
    """A folder with two fake plugins, and what they were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("first", "second"):
            path = folder / "bin" / name
            path.write_text(FAKE)
            path.chmod(0o755)
        env = {"LOG": str(folder / "log"), "ANSWERS": str(folder)}
        self.cni = Cni((folder / "bin",), folder / "cache", env=env)

    def network(self, version: str = "1.1.0", **more: object):
        plugins = [
            {"type": "first", "own": {"x": 1}},
            {"type": "second", "capabilities": {"portMappings": True, "dns": False}},
        ]
        return parse(
            {"name": "net", "cniVersion": version, "plugins": plugins, **more}, self.folder
        )

    def fail(self, plugin: str, command: str, **error: object) -> None:
        (self.folder / f"{plugin}.{command}").write_text(json.dumps(error))

    def calls(self) -> list[dict]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def commands(self) -> list[str]:
        return [f"{one['plugin']}.{one['env']['CNI_COMMAND']}" for one in self.calls()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ATTACHMENT = Attachment(
    "c0ffee",
    "/run/netns/x",
    args=(("IgnoreUnknown", "1"), ("K8S_POD_NAME", "web")),
    capability_args={"portMappings": [{"HostPort": 80}], "dns": {}, "other": 1},
)


def test_add_runs_the_chain_and_hands_the_result_on(world: World) -> None:
    result = world.cni.add(world.network(), ATTACHMENT)
    first, second = world.calls()
    assert result["by"] == ["first", "second"]
    assert first["env"] == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c0ffee",
        "CNI_NETNS": "/run/netns/x",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
        "CNI_PATH": str(world.folder / "bin"),
    }
    assert first["in"] == {"type": "first", "own": {"x": 1}, "cniVersion": "1.1.0", "name": "net"}
    assert second["in"]["prevResult"]["by"] == ["first"]
    # Declared and supplied; neither declared false nor undeclared, nor the declaration itself.
    assert second["in"]["runtimeConfig"] == {"portMappings": [{"HostPort": 80}]}
    assert "capabilities" not in second["in"]


def test_del_goes_backwards_with_the_final_result_and_forgets_it(world: World) -> None:
    network = world.network()
    world.cni.add(network, ATTACHMENT)
    world.cni.delete(network, ATTACHMENT)
    assert world.commands()[2:] == ["second.DEL", "first.DEL"]
    assert [one["in"]["prevResult"]["by"] for one in world.calls()[2:]] == [["first", "second"]] * 2
    assert world.cni.cached() == ()


def test_a_failed_add_stops_the_chain_and_leaves_a_del_owed(world: World) -> None:
    world.fail("first", "ADD", code=11, msg="later", details="soon")
    with pytest.raises(CniError, match="ADD: later: soon") as caught:
        world.cni.add(world.network(), ATTACHMENT)
    assert caught.value.code == 11
    assert world.commands() == ["first.ADD"]
    assert [one.result for one in world.cni.cached()] == [None]
    world.cni.delete(world.network(), ATTACHMENT)
    assert "prevResult" not in world.calls()[-1]["in"]
    assert world.cni.cached() == ()


def test_check_needs_an_add_before(world: World) -> None:
    with pytest.raises(CniError, match="CHECK before ADD"):
        world.cni.check(world.network(), ATTACHMENT)
    world.cni.add(world.network(), ATTACHMENT)
    world.cni.check(world.network(), ATTACHMENT)
    assert world.commands()[2:] == ["first.CHECK", "second.CHECK"]
    assert world.calls()[-1]["in"]["prevResult"]["by"] == ["first", "second"]


def test_check_is_not_run_when_the_list_disables_it(world: World) -> None:
    world.cni.check(world.network(disableCheck=True), ATTACHMENT)
    assert world.commands() == []


@pytest.mark.parametrize(("version", "runs"), [("1.0.0", []), ("1.1.0", ["first.STATUS"])])
def test_status_exists_from_1_1_0(world: World, version: str, runs: list[str]) -> None:
    world.fail("first", "STATUS", code=50, msg="not yet")
    if runs:
        with pytest.raises(CniError) as caught:
            world.cni.status(world.network(version))
        assert caught.value.code == 50
    else:
        world.cni.status(world.network(version))
    assert world.commands() == runs


def test_gc_deletes_what_is_stale_then_tells_every_plugin_what_is_valid(world: World) -> None:
    network = world.network()
    kept = Attachment("kept", "/run/netns/k")
    world.cni.add(network, ATTACHMENT)
    world.cni.add(network, kept)
    world.fail("first", "GC", code=100, msg="cannot")
    failures = world.cni.collect(network, [kept])
    assert [failure.code for failure in failures] == [100]
    assert world.commands()[4:] == ["second.DEL", "first.DEL", "first.GC", "second.GC"]
    valid = world.calls()[-1]["in"]["cni.dev/valid-attachments"]
    assert valid == [{"containerID": "kept", "ifname": "eth0"}]


@pytest.mark.parametrize(
    ("attachment", "code"),
    [(Attachment("-x", "n"), 3), (Attachment("x", "n", "a/b"), 4), (Attachment("x", "n", ".."), 4)],
)
def test_names_that_the_spec_forbids_never_reach_a_plugin(
    world: World, attachment: Attachment, code: int
) -> None:
    with pytest.raises(CniError) as caught:
        world.cni.add(world.network(), attachment)
    assert caught.value.code == code
    assert world.commands() == []


def test_a_plugin_that_is_not_there_is_named_with_where_it_was_sought(world: World) -> None:
    network = parse({"name": "n", "plugins": [{"type": "none"}]}, world.folder)
    with pytest.raises(CniError, match=r"'none': not found in .*/bin"):
        world.cni.add(network, ATTACHMENT)


def test_stderr_is_quoted_when_a_plugin_dies_without_an_error_object(tmp_path: Path) -> None:
    path = tmp_path / "dies"
    path.write_text("#!/bin/sh\necho oh no >&2\nexit 7\n")
    path.chmod(0o755)
    network = parse({"name": "n", "plugins": [{"type": "dies"}]}, tmp_path)
    with pytest.raises(CniError, match="exit status 7: oh no"):
        Cni((tmp_path,), tmp_path / "cache").add(network, ATTACHMENT)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"cniVersion": "1.0.0"}, "1.0.0"),
        ({}, "0.1.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "0.3.1"]}, "1.0.0"),
        ({"cniVersion": "1.1.0", "cniVersions": ["9.0.0"]}, "1.1.0"),
    ],
)
def test_the_highest_common_version_is_spoken(
    tmp_path: Path, keys: dict[str, object], expected: str
) -> None:
    assert parse({"name": "n", "plugins": [{"type": "t"}], **keys}, tmp_path).version == expected


@pytest.mark.parametrize(
    "document",
    [
        {"name": "n", "cniVersion": "9.9.9", "plugins": [{"type": "t"}]},
        {"name": "../x", "plugins": [{"type": "t"}]},
        {"name": "", "plugins": [{"type": "t"}]},
        {"name": "n", "plugins": []},
        {"name": "n", "plugins": [{"type": "a/b"}]},
        {"name": "n", "plugins": [{}]},
    ],
)
def test_a_list_that_no_runtime_could_use_is_refused(tmp_path: Path, document: dict) -> None:
    with pytest.raises(CniConfigError):
        parse(document, tmp_path)


def test_of_a_folder_the_first_file_counts(tmp_path: Path) -> None:
    assert load_first(tmp_path / "none") is None
    assert load_first(tmp_path) is None
    (tmp_path / "20-b.conflist").write_text('{"name": "b", "plugins": [{"type": "t"}]}')
    (tmp_path / "10-a.conf").write_text('{"name": "a", "type": "u", "cniVersion": "1.0.0"}')
    (tmp_path / "00-readme.txt").write_text("not one")
    first = load_first(tmp_path)
    assert first is not None
    assert (first.name, first.version, [one["type"] for one in first.plugins]) == (
        "a",
        "1.0.0",
        ["u"],
    )


def test_a_broken_first_file_fails_the_load_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "10-a.conflist").write_text("{")
    with pytest.raises(CniConfigError, match=r"10-a\.conflist"):
        load_first(tmp_path)


@pytest.mark.parametrize(("inline_only", "plugins"), [(True, ["t"]), (False, ["t", "u"])])
def test_plugins_are_also_loaded_from_the_folder_named_after_the_network(
    tmp_path: Path, inline_only: bool, plugins: list[str]
) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "1.conf").write_text('{"type": "u"}')
    path = tmp_path / "n.conflist"
    path.write_text(
        json.dumps({"name": "n", "loadOnlyInlinedPlugins": inline_only, "plugins": [{"type": "t"}]})
    )
    assert [one["type"] for one in load(path).plugins] == plugins


def test_a_request_does_not_change_the_list(world: World) -> None:
    network = world.network()
    before = json.dumps(network.plugins)
    request(network, network.plugins[1], capability_args={"portMappings": []})
    assert json.dumps(network.plugins) == before


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (("192.0.2.1",), ("10.0.0.2", "fd00::2")),
        (("2001:db8::1", "192.0.2.1"), ("fd00::2", "10.0.0.2")),
    ],
)
def test_pod_addresses_start_with_the_node_primary_family(
    node: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    result = {
        "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/x"}],
        "ips": [
            {"address": "10.0.0.2/24", "interface": 1},
            {"address": "fd00::2/64"},
            {"address": "192.0.2.99/24", "interface": 0},
        ],
    }
    assert result_addresses(result, node) == expected


@pytest.mark.parametrize(
    "result",
    [
        {"ips": [{"address": "10.0.0.2/24", "interface": 3}]},
        {"ips": [{"addr": "10.0.0.2/24"}]},
        {"ips": [{"address": "not one"}]},
        {"ips": ["10.0.0.2/24"]},
        {"ips": 1},
    ],
)
def test_a_result_that_makes_no_sense_is_an_error_with_words(result: dict) -> None:
    with pytest.raises(SandboxError, match="not understood"):
        result_addresses(result, ())


@pytest.mark.kernel
@pytest.mark.skipif(
    not (REFERENCE / "ptp").exists(), reason="apt install containernetworking-plugins"
)
@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_debians_plugins_attach_check_and_detach(tmp_path: Path, lab_name: str, kind: str) -> None:
    node, pod = netns.namespace(lab_name, "node-a"), netns.namespace(lab_name, "pod-00000001")
    netns.create((node, pod))
    ranges = [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd00:99::/64"}]]
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "ipam"), "ranges": ranges}
    plugins = [{"type": kind, "ipam": ipam}, {"type": "portmap", "capabilities": {}}]
    network = parse({"name": "n", "cniVersion": "1.0.0", "plugins": plugins}, tmp_path)
    cni = Cni((REFERENCE,), tmp_path / "cache")
    attachment = Attachment("c1", f"/run/netns/{pod}")
    result = netns.inside(node, lambda: cni.add(network, attachment))
    assert result_addresses(result, ()) == ("10.99.0.2", "fd00:99::2")
    assert "eth0" in netns.inside(pod, _interfaces)
    netns.inside(node, lambda: cni.check(network, attachment))
    subprocess.run(["ip", "-n", pod, "link", "del", "eth0"], check=True)
    with pytest.raises(CniError):
        netns.inside(node, lambda: cni.check(network, attachment))
    for _ in range(2):
        netns.inside(node, lambda: cni.delete(network, attachment))
    leases = [path for path in (tmp_path / "ipam/n").iterdir() if path.name[0].isdigit()]
    assert leases == []
    assert netns.inside(pod, _interfaces) == {"lo"}


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}

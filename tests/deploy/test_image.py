"""The image, run with the rights and mounts of deploy/steppe.yaml: `make test-image` (root, runc).

The node is a network namespace with an API server of its own inside.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifest import ROOT, container
from tests.deploy.node import NODE, Node, run
from tests.waiting import until

IMAGE = os.environ.get("STEPPE_IMAGE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.kernel,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not IMAGE, reason="no image: make image, then make test-image"),
]

MEGABYTES = 80


def blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image's file system, in the folder `rootfs`."""
    folder = tmp_path_factory.mktemp("image")
    layout, root = folder / "layout", folder / "rootfs"
    with tarfile.open(IMAGE) as archive:
        archive.extractall(layout, filter="data")
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
    for layer in json.loads(blob(layout, manifest).read_text())["layers"]:
        with tarfile.open(blob(layout, layer)) as archive:
            archive.extractall(root, filter="fully_trusted")  # noqa: S202 - our own image
    shutil.rmtree(layout)
    yield folder
    shutil.rmtree(folder)


def in_image(bundle: Path, *command: str) -> str:
    return run("chroot", str(bundle / "rootfs"), *command)


def test_it_is_small() -> None:
    assert Path(IMAGE).stat().st_size < MEGABYTES * 1_000_000


PROGRAMS = (
    ("/usr/bin/python3", "-P", "-m", "steppe.agent"),
    ("/usr/bin/python3", "-P", "-m", "steppe.controller"),
    ("/usr/bin/steppe", "explain"),
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_programs_run(bundle: Path, program: tuple[str, ...]) -> None:
    assert "--help" in in_image(bundle, *program, "--help")


def test_every_module_can_be_imported(bundle: Path) -> None:
    script = (
        "import pkgutil, importlib, steppe\n"
        "for m in pkgutil.walk_packages(steppe.__path__, 'steppe.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print('all')"
    )
    assert in_image(bundle, "/usr/bin/python3", "-P", "-c", script) == "all\n"


def test_byte_code_is_there_for_a_read_only_root(bundle: Path) -> None:
    script = "import steppe.agent.daemon as d, pathlib; print(pathlib.Path(d.__cached__).exists())"
    assert in_image(bundle, "/usr/bin/python3", "-P", "-c", script) == "True\n"


def test_the_plugin_in_it_answers(bundle: Path) -> None:
    command = ["chroot", str(bundle / "rootfs"), "/opt/steppe/steppe-cni"]
    done = subprocess.run(
        command,
        env={**os.environ, "CNI_COMMAND": "VERSION"},
        input=b"{}",
        stdout=subprocess.PIPE,
        check=True,
    )
    assert "1.1.0" in json.loads(done.stdout)["supportedVersions"]


def test_it_has_no_shell_and_nothing_that_gives_rights(bundle: Path) -> None:
    files = [path for path in (bundle / "rootfs").rglob("*") if path.is_file()]
    assert not {path.name for path in files} & {"sh", "bash", "dash", "busybox", "perl", "su"}
    assert not [path for path in files if path.stat().st_mode & 0o6000]


def test_what_it_is_made_of_is_listed(bundle: Path) -> None:
    bom = json.loads(Path(IMAGE).with_suffix(".cdx.json").read_text())
    listed = {each["purl"] for each in bom["components"]}
    inside = {p.name for p in (bundle / "rootfs/var/lib/dpkg/status.d").iterdir()}
    assert {purl.split("/")[2].split("@")[0] for purl in listed if purl.startswith("pkg:deb")} == (
        inside
    )
    site = bundle / "rootfs/usr/lib/python3/dist-packages"
    assert len(list(site.glob("*.dist-info"))) == len([p for p in listed if "pkg:pypi" in p])
    assert bom["metadata"]["component"]["version"].startswith("sha256:")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


AGENT = ("DaemonSet", "steppe-agent")
CONTROLLER = ("Deployment", "steppe-controller")


@pytest.fixture
def controlled(bundle: Path, node: Node) -> Iterator[Node]:
    """A node whose prefixes come from a controller that has no rights at all."""
    node.register()
    with node.running(*CONTROLLER, bundle) as controller:
        prefixes = '"podCIDR": "10.244.0.0/24"'
        seen = partial(node.kubectl, "get", "node", NODE, "-o", "json")
        controller.until(lambda: prefixes in seen(), 30, "prefixes")
        yield node


def test_with_the_rights_of_the_manifest_pods_get_their_network(
    bundle: Path, controlled: Node
) -> None:
    node = controlled
    with node.running(*AGENT, bundle) as agent:
        agent.until(node.installed, 30, "the CNI configuration")
        run("ip", "netns", "add", node.pod)  # after the agent's start, as a runtime does
        added = node.cni("ADD")
        assert added.returncode == 0, added.stdout + agent.log.read_text()
        addresses = {ip["address"].split("/")[0] for ip in json.loads(added.stdout)["ips"]}
        assert addresses == {"10.244.0.1", "fd00:10:244::1"}
        routes = node.run("ip", "route") + node.run("ip", "-6", "route")
        assert all(f"{address} dev st" in routes for address in addresses)
        assert "10.244.0.1" in run("ip", "netns", "exec", node.pod, "ip", "address")
        assert NODE in agent.run("steppe", "status")
        node.run("iptables-legacy", "-A", "FORWARD", "-j", "DROP")
        assert "iptables-legacy" in agent.run("steppe", "audit", check=False)
        assert node.cni("DEL").returncode == 0
        assert "10.244.0.1 dev" not in node.run("ip", "route")


def test_what_docs_say_of_uninstalling_leaves_nothing_in_the_kernel(
    bundle: Path, controlled: Node
) -> None:
    node = controlled
    with node.running(*AGENT, bundle) as agent:
        agent.until(node.installed, 30, "the CNI configuration")
        run("ip", "netns", "add", node.pod)
        assert node.cni("ADD").returncode == 0
    left = left_in_kernel(node)
    assert all(word in left for word in ("table inet steppe", "lookup 7473", "group", "10.244.0.0"))
    for command in uninstalling():
        node.run(*command, check=False)  # there is no tunnel on a single node
    assert left_in_kernel(node) == ""


def uninstalling() -> list[list[str]]:
    """The commands of docs/install.md that change a node's kernel."""
    lines = (ROOT / "docs" / "install.md").read_text().partition("## 5.")[2].splitlines()
    found = [
        line.partition("#")[0].split() for line in lines if line.startswith(("    ip ", "    nft "))
    ]
    assert len(found) > 3
    return found


def left_in_kernel(node: Node) -> str:
    ours = ("protocol", "83")
    shown = [node.run("nft", "list", "tables"), node.run("ip", "link", "show", "group", "7473")]
    shown.append(node.run("ip", "nexthop", "show", *ours))
    for family in ("-4", "-6"):
        # `ip rule show` has no filter for this; `ip rule flush` has.
        rules = node.run("ip", family, "rule", "show").splitlines()
        shown += [rule for rule in rules if "lookup 7473" in rule]
        shown.append(node.run("ip", family, "route", "show", "table", "all", *ours))
    return "".join(shown)


UNABLE = {
    "DAC_OVERRIDE": "cannot write /host/cni-bin/steppe: Permission denied",
    "NET_ADMIN": "Operation not permitted",
    "SYS_ADMIN": "make network namespace: Operation not permitted",
}
"""What the agent says without one of its capabilities."""


def test_every_capability_of_the_manifest_is_taken_away_by_a_test() -> None:
    assert set(container(*AGENT)["securityContext"]["capabilities"]["add"]) == set(UNABLE)


@pytest.mark.parametrize("capability", sorted(UNABLE))
def test_without_one_of_its_capabilities_the_agent_installs_nothing(
    bundle: Path, controlled: Node, capability: str
) -> None:
    with controlled.running(*AGENT, bundle, without=capability) as agent:
        said = agent.log.read_text
        until(lambda: UNABLE[capability] in said(), 30, UNABLE[capability])
        assert not controlled.installed()

"""A lab with BGP: BIRD on every node, and what its users see of it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bgp.worlds import needs_bird
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_promises import on_node
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240), needs_bird]
NODES = ("node-a", "node-b")
VIP = "203.0.113.9"
PEER = {
    "apiVersion": "steppe.dev/v1alpha1",
    "kind": "BGPPeer",
    "metadata": {"name": "tor"},
    "spec": {"address": "192.0.2.254", "asn": 65001},
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "externalIPs": [VIP],
        "selector": {"app": "web"},
        "ports": [{"port": 8080}],
    },
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("bgp")) as make:
        pods = echo_pods(NODES, 1)
        pods[0]["metadata"].setdefault("labels", {})["app"] = "web"
        yield make("bgp", "--nodes", "2", "--fabric", "bgp", pods=pods)


def told(lab: Lab) -> dict[str, Any]:
    """What `steppe bgp` says, by node."""
    answer = json.loads(lab.command("bgp", "-o", "json").stdout)
    return {each["node"]: each for each in answer["nodes"]}


def is_up(lab: Lab) -> bool:
    rows = [row for each in told(lab).values() for row in each["sessions"]]
    return len(rows) == len(NODES) and all(row["state"] == "Established" for row in rows)


def apply(lab: Lab, folder: Path, *objects: dict[str, Any]) -> None:
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    lab.kubectl("apply", "-f", str(file))


def pid_of_bird(lab: Lab, node: str) -> int:
    try:
        return int((lab.root / "nodes" / node / "bird" / "bird.pid").read_text())
    except (OSError, ValueError):
        return 0


def test_every_node_has_its_session_and_every_pair_of_pods_its_way(lab: Lab) -> None:
    until(lambda: is_up(lab), 30, "all sessions are up")
    done = lab.command("bgp", "--routes")
    assert done.returncode == 0, done.stdout
    assert "Node/node-b status.addresses" in done.stdout
    assert "via 192.0.2.12 dev eth0 proto bird" in on_node(lab, "node-a", "ip", "route")
    probed = lab.steppe("probe")
    assert probed.returncode == 0, probed.stdout + probed.stderr
    audited = lab.command("audit")
    assert audited.returncode == 0, audited.stdout


def test_bird_that_is_killed_is_back(lab: Lab) -> None:
    until(lambda: is_up(lab), 30, "all sessions are up")
    old = pid_of_bird(lab, "node-a")
    os.kill(old, 9)
    until(lambda: pid_of_bird(lab, "node-a") not in (0, old), 10, "BIRD runs again")
    until(lambda: is_up(lab), 30, "all sessions are up")
    assert told(lab)["node-a"]["starts"] == 2


def test_a_local_service_is_announced_by_the_node_with_its_pod(lab: Lab, tmp_path: Path) -> None:
    apply(lab, tmp_path, SERVICE)

    def announcing() -> dict[str, list[str]]:
        return {
            node: row["because"]
            for node, each in told(lab).items()
            for row in each["announcements"]
            if row["prefix"] == f"{VIP}/32"
        }

    until(announcing, 20, "the address is announced")
    assert announcing() == {"node-a": ["Service/default/web spec.externalIPs[0]"]}
    lab.kubectl("delete", "service", "web")
    until(lambda: not announcing(), 20, "it is withdrawn")


def test_a_session_that_is_missing_is_told_by_every_command(lab: Lab, tmp_path: Path) -> None:
    apply(lab, tmp_path, PEER)
    until(lambda: "BGPPeer/tor" in lab.command("status").stdout, 40, "status tells")
    audited = lab.command("audit")
    assert audited.returncode == 1
    assert "BGP session peer:tor is missing" in audited.stdout
    assert lab.command("bgp").returncode == 1
    until(lambda: "NotServed" in lab.kubectl("describe", "bgppeer", "tor"), 20, "an Event tells")
    lab.kubectl("delete", "bgppeer", "tor")
    until(lambda: lab.command("bgp").returncode == 0, 20, "nothing is missing")


def test_an_agent_that_is_killed_takes_no_session_with_it(lab: Lab) -> None:
    until(lambda: is_up(lab), 30, "all sessions are up")
    since = {n: [row["since"] for row in each["sessions"]] for n, each in told(lab).items()}
    bird = pid_of_bird(lab, "node-b")
    assert lab.steppe("restart", "agent/node-b").returncode == 0  # it is killed
    until(lambda: told(lab).get("node-b", {}).get("sessions"), 30, "the next agent answers")
    until(lambda: is_up(lab), 30, "all sessions are up")
    now = {n: [row["since"] for row in each["sessions"]] for n, each in told(lab).items()}
    assert (now, pid_of_bird(lab, "node-b")) == (since, bird)

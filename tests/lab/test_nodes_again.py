"""Node objects that go and come back under traffic: pods whose own objects stay lose no packet.

What happens to them is the agents' business alone: the lab's kubelet, which would register a node
again, its pod garbage collector, which would end a deleted node's pods (kube-controller-manager's
waits 40 s), and the controller, which gives prefixes, are stopped meanwhile.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_promises import audit, log_of, pod_ips
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

NODES = ("node-a", "node-b", "node-c")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("again")) as make:
        pods = echo_pods(NODES, 1)
        yield make("again", "--nodes", "3", "--fabric", "auto", "--topology", "racks", pods=pods)


class Stream:
    """Numbered UDP packets from a pod to echo servers, until it is told to end."""

    CLIENT = """
import select, socket, sys, time
servers = [(address, 7) for address in sys.argv[1:]]
families = (socket.AF_INET6 if ":" in server[0] else socket.AF_INET for server in servers)
sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in families]
sent, back = [0] * len(servers), [0] * len(servers)
def listen(seconds):
    ready, _, _ = select.select([*sockets, sys.stdin], [], [], max(0, seconds))
    for number, each in enumerate(sockets):
        if each in ready:
            each.recv(4096)
            back[number] += 1
    return sys.stdin in ready
over = False
while not over:
    for number, each in enumerate(sockets):
        each.sendto(b'x', servers[number])
        sent[number] += 1
    due = time.monotonic() + .005
    while time.monotonic() < due:
        over = listen(due - time.monotonic()) or over
    if sent[0] == 100:
        print('up', flush=True)
end = time.monotonic() + 2
while sent != back and time.monotonic() < end:
    listen(.01)
for (address, _), n, m in zip(servers, sent, back):
    print(address, n, n - m)
"""

    def __init__(self, lab: Lab, pod: str, to: list[str]) -> None:
        command = ("/usr/bin/python3", "-u", "-c", self.CLIENT, *to)
        self._process = subprocess.Popen(
            lab.argv("exec", pod, "--", *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n"

    def ended(self) -> dict[str, tuple[int, int]]:
        """Packets sent and lost, by receiver."""
        told, error = self._process.communicate("end\n", timeout=patience(30))
        found = [line.split() for line in told.splitlines()]
        assert found, error
        return {address: (int(sent), int(lost)) for address, sent, lost in found}


@contextlib.contextmanager
def stopped(lab: Lab, *names: str) -> Iterator[None]:
    """These processes of the lab do nothing meanwhile."""
    pids = [each["pid"] for each in lab.record()["processes"] if each["name"] in names]
    assert len(pids) == len(names)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def node_of(lab: Lab, name: str) -> dict[str, Any]:
    return json.loads(lab.kubectl("get", "node", name, "-o", "json"))


def problems(lab: Lab, node: str) -> str:
    return lab.command("status", "--node", node).stdout


def register(lab: Lab, node: dict[str, Any], folder: Path, *, prefixes: bool) -> None:
    """As a kubelet does; without prefixes, as where a controller gives them later."""
    name, spec = node["metadata"]["name"], node["spec"]
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": node["metadata"]["labels"]},
        "spec": {key: spec[key] for key in ("podCIDR", "podCIDRs") if prefixes},
        "status": {"addresses": node["status"]["addresses"]},
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(body))
    lab.kubectl("create", "-f", str(file))


# Together they are away from agents that go on. An agent that starts while a peer's Node is away
# cannot know of that peer, so there only its own is.
CASES = {
    "two, with podCIDRs": (("node-b", "node-c"), True, False),
    "two, without podCIDRs": (("node-b", "node-c"), False, False),
    "one, with podCIDRs, its agent started before": (("node-b",), True, True),
    "one, without podCIDRs, its agent started before": (("node-b",), False, True),
}
"""Which Nodes go; from node-a the first is reached through the tunnel, the other directly."""


@pytest.mark.parametrize("case", CASES)
def test_nodes_that_are_deleted_and_registered_again_lose_no_packet(
    lab: Lab, case: str, tmp_path: Path
) -> None:
    names, prefixes, restarted = CASES[case]
    logs = {name: len(log_of(lab, name)) for name in NODES}
    ips = {name: pod_ips(lab, f"echo-{name.removeprefix('node-')}-0") for name in NODES}
    before = {name: node_of(lab, name) for name in names}
    streams = [
        Stream(lab, "echo-a-0", [*ips["node-b"], *ips["node-c"]]),
        Stream(lab, "echo-b-0", [*ips["node-a"], *ips["node-c"]]),
    ]
    wanted = "ready" if prefixes else "podCIDRs: none any more"
    try:
        with stopped(lab, "controller-manager", "kubelet", "controller"):
            unregister(lab, names, restarted=restarted)
            for name in names:
                register(lab, before[name], tmp_path, prefixes=prefixes)
            for name in names:
                until(lambda n=name: is_told(lab, n, wanted), 15, f"{name} is registered")
            assert all(audit(lab, name) == [] for name in names)
        until(lambda: is_well(lab, names), 30, "all nodes are as they were")
    finally:
        found = [stream.ended() for stream in streams]
    assert [(ip, lost) for each in found for ip, (_, lost) in each.items() if lost] == []
    for name in names:
        assert node_of(lab, name)["spec"]["podCIDRs"] == before[name]["spec"]["podCIDRs"]
    for name, length in logs.items():
        changed = re.findall(r"INFO (?:add|replace|delete) .*", log_of(lab, name)[length:])
        assert changed == [], name


def unregister(lab: Lab, names: tuple[str, ...], *, restarted: bool) -> None:
    """Delete these Nodes, and perhaps start their agents anew; return once the agents know."""
    for name in names:
        lab.kubectl("delete", "node", name, "--wait=false")
        if restarted:
            assert lab.steppe("restart", f"agent/{name}").returncode == 0
    words = "does not know this node" if restarted else "object was deleted"
    for name in names:
        until(lambda n=name: words in problems(lab, n), 15, f"the agent of {name} knows")


def is_told(lab: Lab, node: str, words: str) -> bool:
    shown = problems(lab, node)
    return words in shown and "deleted" not in shown and "does not know" not in shown


def is_well(lab: Lab, names: tuple[str, ...]) -> bool:
    return all(lab.command("status", "--node", name).returncode == 0 for name in names)

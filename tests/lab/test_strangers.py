"""A real agent, while strangers hold connections to it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steppe.drivers.conntrack import Conntrack
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.waiting import patience, until

pytestmark = pytest.mark.lab

HALF_OPEN = 2240
"""Twice as many as took the last file descriptor of an agent before it had limits."""
MOST_MEMORY = 300 << 20

FLOOD = f"""
import resource, socket, sys, time, urllib.request
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
held = []
for number in range({HALF_OPEN}):
    client = socket.socket()
    client.settimeout(5)
    client.connect(("127.0.0.1", 10256))
    if number % 2:
        client.sendall(b"GET /healthz HTTP/1.1\\r\\nX-Slow: ")
    held.append(client)
began = time.monotonic()
status = urllib.request.urlopen("http://127.0.0.1:10256/healthz", timeout=30).status
print(status, time.monotonic() - began, flush=True)
sys.stdin.read()
"""


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo"},
    "spec": {"selector": {"app": "echo"}, "ports": [{"name": "http", "port": 8080}]},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    pods = echo_pods(("node-a",), 2)
    for pod in pods:
        pod["metadata"]["labels"] = {"app": "echo"}
    with make_labs(tmp_path_factory.mktemp("strangers")) as make:
        yield make("held", "--nodes", "1", pods=[*pods, SERVICE])


def agent(lab: Lab) -> int:
    (pid,) = (each["pid"] for each in lab.record()["processes"] if each["name"] == "agent/node-a")
    return pid


def memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


def test_half_open_connections_at_twice_the_limit_cost_a_node_nothing(
    lab: Lab, tmp_path: Path
) -> None:
    pid = agent(lab)
    command = lab.argv("exec", "node/node-a", "--", sys.executable, "-c", FLOOD)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as flood:
        status, seconds = flood.stdout.readline().split()
        assert status == "200"
        assert float(seconds) < patience(1)
        (pod,) = echo_pods(("node-a",), 1)
        pod["metadata"]["name"] = "unrelated"
        (tmp_path / "pod.json").write_text(json.dumps(pod))
        lab.kubectl("apply", "-f", str(tmp_path / "pod.json"))
        until(lambda: "attached pod=Pod/default/unrelated" in log(lab), 10, "the pod is attached")
        assert memory(pid) < MOST_MEMORY
        assert lab.command("status").returncode in (0, 1)
        flood.stdin.close()
    assert agent(lab) == pid
    assert Path(f"/proc/{pid}").exists()


def log(lab: Lab) -> str:
    return (lab.root / "log" / "agent-node-a.log").read_text()


def test_a_connection_begun_while_the_rules_were_gone_is_made_after_the_repair(lab: Lab) -> None:
    address = lab.kubectl("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")
    # Where a node has a default route, untranslated packets leave by it, and are tracked.
    way = (
        "ip link add void type veth peer name dark; ip link set void up; ip link set dark up; "
        f"ip route add {address} dev void; "
        f"ip neighbour add {address} lladdr 02:00:00:00:00:01 dev void; "
        # The kernel tracks nothing at all where no rule looks at connections.
        "nft 'add table inet firewall; add chain inet firewall f { type filter hook forward "
        "priority 0; }; add rule inet firewall f ct state new accept'"
    )
    assert lab.steppe("exec", "node/node-a", "--", "sh", "-c", way).returncode == 0
    pid = agent(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        flush = ("nft", "flush table inet steppe")
        assert lab.steppe("exec", "node/node-a", "--", *flush).returncode == 0
        script = f"import socket; socket.create_connection(({address!r}, 8080), {patience(15)})"
        command = lab.argv("exec", "echo-a-0", "--", sys.executable, "-c", script)
        with subprocess.Popen(command, stderr=subprocess.PIPE) as client:
            until(lambda: opening(lab, address), 10, "its first packet is tracked")
            os.kill(pid, signal.SIGCONT)
            _, said = client.communicate(timeout=patience(30))
        assert client.returncode == 0, said
    finally:
        os.kill(pid, signal.SIGCONT)


def opening(lab: Lab, address: str) -> bool:
    nodes = json.loads((lab.root / "nodes.json").read_bytes())["nodes"]
    path = Path("/run/netns") / nodes[0]["netns"]
    with path.open("rb") as namespace, Conntrack(namespace.fileno()) as table:
        return any(str(f.original.destination) == address for f in table.flows((), ("TCP",)))

"""A real agent, while strangers hold connections to it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("strangers")) as make:
        yield make("held", "--nodes", "1", pods=echo_pods(("node-a",), 1))


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

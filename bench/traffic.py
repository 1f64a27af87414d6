"""Between nodes and between pods: TCP throughput, and one request after the other.

Both ends share this machine's CPUs, so a rate says little; the ratio of two that were measured in
turn, run by run, says what the pod network costs. The family with the lower ratio counts.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.lab import Place, lab, node, pod, pod_manifest
from bench.model import Benchmark, Result, Say, Target

RUNS = 5
SECONDS = 2
IPERF_PORT = "5201"
PEER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("peer.py")))

DIRECT_THROUGHPUT = Target("TCP throughput, pod to pod ÷ node to node, direct", 0.85)
DIRECT_RATE = Target("request/response rate, pod to pod ÷ node to node, direct", 0.80)
VXLAN_THROUGHPUT = Target("TCP throughput, pod to pod ÷ node to node, vxlan", 0.75)

Pair = tuple[Place, Place]
Measure = Callable[[Place, Place, int], float]


@contextlib.contextmanager
def server(place: Place, *command: str) -> Iterator[str]:
    """A server in a namespace; the value is the first line it prints: it listens."""
    argv = ("ip", "netns", "exec", place.netns, *command)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("Popen without its pipe")
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


def client(place: Place, *command: str) -> str:
    argv = ("ip", "netns", "exec", place.netns, *command)
    return subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=SECONDS + 20
    ).stdout


def throughput(here: Place, there: Place, version: int) -> float:
    """Gigabits a second that arrive."""
    # iperf3 says this and a rule above it; flushed, or the pipe would hold it back.
    serve = ("iperf3", "-s", "-1", "-p", IPERF_PORT, "--forceflush")
    call = ("iperf3", "-c", there.address(version), "-p", IPERF_PORT, "-t", str(SECONDS), "-J")
    with server(there, *serve):
        report = json.loads(client(here, *call))
    received: float = report["end"]["sum_received"]["bits_per_second"]
    return received / 1e9


def rate(here: Place, there: Place, version: int) -> float:
    """Responses a second."""
    with server(there, *PEER, "serve") as port:
        return float(
            client(here, *PEER, "call", there.address(version), port.strip(), str(SECONDS))
        )


def compare(measure: Measure, nodes: Pair, pods: Pair) -> dict[str, Any]:
    """For each family the median ratio of runs in pairs: what else the machine does changes slowly,
    so both halves of a pair meet about the same of it.
    """
    found = {}
    for version in (4, 6):
        runs = [(measure(*nodes, version), measure(*pods, version)) for _ in range(RUNS)]
        found[f"IPv{version}"] = {
            "nodes": median(run[0] for run in runs),
            "pods": median(run[1] for run in runs),
            "ratio": median(pods / nodes for nodes, pods in runs),
            "runs": runs,
        }
    return found


def measure_in(fabric: str, what: dict[Target, Measure], say: Say) -> Iterator[Result]:
    """Each measurement in a 2-node lab with one pod a node."""
    names = {"one": "node-a", "two": "node-b"}
    manifest = "\n---\n".join(pod_manifest(name, on) for name, on in names.items())
    with lab(2, fabric, manifest):
        nodes = (node("node-a"), node("node-b"))
        pods = (pod("one"), pod("two"))
        for target, measure in what.items():
            say(f"  {target.what}: {RUNS} runs of {SECONDS} s each way and family")
            found = compare(measure, nodes, pods)
            yield Result(target, min(family["ratio"] for family in found.values()), found)


def direct(say: Say) -> Iterator[Result]:
    yield from measure_in("direct", {DIRECT_THROUGHPUT: throughput, DIRECT_RATE: rate}, say)


def vxlan(say: Say) -> Iterator[Result]:
    yield from measure_in("vxlan", {VXLAN_THROUGHPUT: throughput}, say)


DIRECT = Benchmark((DIRECT_THROUGHPUT, DIRECT_RATE), direct)
VXLAN = Benchmark((VXLAN_THROUGHPUT,), vxlan)

"""The resident memory of the agents of a 3-node lab, each with a pod."""

import re
from collections.abc import Iterator
from pathlib import Path

from bench.lab import lab, pod, pod_manifest, record
from bench.model import BenchError, Benchmark, Result, Say, Target

TARGET = Target("agent resident memory, 3-node lab", 60.0, "MB", at_most=True)


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    if match is None:
        raise BenchError(f"process {pid} has no memory: it has ended")
    return int(match[1]) * 1024 / 1e6


def measure(say: Say) -> Iterator[Result]:
    del say
    names = {"one": "node-a", "two": "node-b", "three": "node-c"}
    manifest = "\n---\n".join(pod_manifest(name, on) for name, on in names.items())
    with lab(3, manifest=manifest):
        for name in names:
            pod(name)
        agents = [process for process in record().processes if "steppe.agent" in process.argv]
        held = {agent.name: resident(agent.pid) for agent in agents}
        yield Result(TARGET, max(held.values()), dict(held))


BENCHMARK = Benchmark((TARGET,), measure)

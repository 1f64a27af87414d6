"""How long `steppe lab up` takes until all nodes are Ready."""

from collections.abc import Iterator

from bench.lab import lab
from bench.model import Benchmark, Result, Say, Target

# Promised on 2 CPUs.
TARGETS = {
    nodes: Target(f"lab up, {nodes} nodes", seconds, "s", at_most=True)
    for nodes, seconds in ((3, 8.0), (50, 90.0))
}


def measure(say: Say) -> Iterator[Result]:
    for nodes, target in TARGETS.items():
        say(f"  {nodes} nodes")
        with lab(nodes) as seconds:
            yield Result(target, seconds)


BENCHMARK = Benchmark(tuple(TARGETS.values()), measure)

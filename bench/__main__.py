"""`python -m bench`: measure, print a table, keep the JSON; exit 1 where a target is missed."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bench import (
    api,
    cni_add,
    cold_start,
    connections,
    explain,
    flush,
    memory,
    peers,
    policies,
    policy_add,
    policy_traffic,
    reach,
    routes,
    service_agent,
    services,
    startup,
    traffic,
    verify,
)
from bench.model import Benchmark, Result, Say, Target
from bench.report import document, machine, save, table
from steppe.errors import SteppeError

BENCHMARKS: dict[str, Benchmark] = {
    "direct": traffic.DIRECT,
    "vxlan": traffic.VXLAN,
    "cni": cni_add.BENCHMARK,
    "startup": startup.BENCHMARK,
    "memory": memory.BENCHMARK,
    "routes": routes.BENCHMARK,
    "peers": peers.BENCHMARK,
    "services": services.BENCHMARK,
    "flush": flush.BENCHMARK,
    "connections": connections.BENCHMARK,
    "policies": policies.BENCHMARK,
    "policy-add": policy_add.BENCHMARK,
    "policy-traffic": policy_traffic.BENCHMARK,
    "agent": service_agent.BENCHMARK,
    "reach": reach.BENCHMARK,
    "cold-start": cold_start.BENCHMARK,
    "api": api.BENCHMARK,
    "explain": explain.BENCHMARK,
    "verify": verify.BENCHMARK,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measure the numbers that the project promises. Takes about ten minutes.",
        epilog='example: make bench ARGS="--only routes --only cold-start"',
    )
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="this one; repeatable")
    parser.add_argument("--here", choices=BENCHMARKS, help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="show the targets and measure nothing")
    return parser.parse_args()


def show_targets() -> None:
    for name, benchmark in BENCHMARKS.items():
        for target in benchmark.targets:
            print(f"{name:11} {target.what}: {target}")


def measured(benchmark: Benchmark, say: Say) -> Iterator[Result]:
    """A result for each of its targets, also where it breaks off half-way: the others go on."""
    missing = list(benchmark.targets)
    try:
        for result in benchmark.measure(say):
            missing.remove(result.target)
            yield result
    except (SteppeError, OSError, subprocess.SubprocessError) as error:
        say(f"  {error}")
        for target in missing:
            yield Result(target, None, {"error": str(error)})


class Measured(msgspec.Struct, frozen=True):
    """A line from a benchmark's own process; the target by its place."""

    target: int
    value: float | None
    details: dict[str, Any]


def measure_here(name: str, say: Say) -> None:
    """A line of JSON for each result."""
    benchmark = BENCHMARKS[name]
    for result in measured(benchmark, say):
        row = Measured(benchmark.targets.index(result.target), result.value, result.details)
        print(msgspec.json.encode(row).decode(), flush=True)


def in_own_process(targets: Sequence[Target], argv: Sequence[str]) -> Iterator[Result]:
    """What a process of its own measures: no benchmark finds the memory of those before it."""
    missing = dict(enumerate(targets))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            try:
                row = msgspec.json.decode(line, type=Measured)
            except msgspec.MsgspecError:
                print(line, end="", file=sys.stderr)  # some command's that it has run
                continue
            yield Result(missing.pop(row.target), row.value, row.details)
    for target in missing.values():
        yield Result(target, None, {"error": f"its process ended with {process.returncode}"})


def main() -> int:
    given = arguments()
    if given.list:
        show_targets()
        return 0
    if os.geteuid() != 0:
        print("bench: network namespaces need root; run it with sudo", file=sys.stderr)
        return 2
    before = machine()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"bench: {time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    if given.here:
        measure_here(given.here, say)
        return 0
    results: list[Result] = []
    for name in given.only or BENCHMARKS:
        say(name)
        argv = (sys.executable, "-m", "bench", "--here", name)
        for result in in_own_process(BENCHMARKS[name].targets, argv):
            say(f"  {result.target.what}: {result} ({result.target})")
            results.append(result)
    print(table(results))
    print(f"\nbench: {save(document(results, before))}")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())

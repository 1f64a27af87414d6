"""`python -m bench`: measure, print a table, keep the JSON; exit 1 where a target is missed."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from bench import (
    api,
    cni_add,
    cold_start,
    connections,
    explain,
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
from bench.model import Benchmark, Result, Say
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

    results: list[Result] = []
    for name in given.only or BENCHMARKS:
        say(name)
        for result in measured(BENCHMARKS[name], say):
            say(f"  {result.target.what}: {result} ({result.target})")
            results.append(result)
    print(table(results))
    print(f"\nbench: {save(document(results, before))}")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())

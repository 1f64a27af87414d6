# ruff: noqa: T201 - a command that talks to its user
"""`python -m tests.conformance.services --cases DIR [--live]`: every svcflows/1 file of a folder.

Each flow is put to the spec and to the compiled tables, walked; with `--live` also to a kernel,
as real packets in namespaces. Prints one line a failed case, then `N passed, N failed`.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from steppe.spec.service import Answer, World, answer
from tests.conformance.service_flows import (
    FileWorld,
    Flow,
    disagreement,
    is_service_flows,
    read,
    world_of,
)
from tests.service_walk import fate, ruleset, tables


def offline(seen: FileWorld, world: World) -> Iterator[tuple[Flow, str]]:
    """Each flow of a world, and what is wrong with it; "" where nothing is."""
    state, problems = tables(world)
    rules = ruleset(state)
    for flow in seen.flows:
        wrong = [
            f"spec: {text}"
            for text in [disagreement(flow.expect, answer(world, flow.packet))]
            if text
        ]
        met = fate(world, rules, flow.packet)
        for masquerade in {bool(met.masqueraded), met.backends == met.masqueraded != frozenset()}:
            walked = Answer(met.action, met.backends, masquerade)  # type: ignore[arg-type]
            text = disagreement(flow.expect, walked)
            wrong += [f"walk: {text}"] if text else []
        wrong += [f"problem: {problem}" for problem in problems]
        yield flow, "; ".join(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.services")
    parser.add_argument("--cases", type=Path, required=True, help="a folder of svcflows/1 files")
    parser.add_argument("--live", action="store_true", help="also with packets in namespaces")
    given = parser.parse_args()
    passed = failed = 0
    for path in sorted(given.cases.glob("*.json")):
        if not is_service_flows(path):
            continue
        file = read(path)
        for seen in file.worlds:
            world = world_of(file, seen)
            for flow, wrong in offline(seen, world):
                passed, failed = passed + (not wrong), failed + bool(wrong)
                if wrong:
                    print(f"{path.name} {seen.id} {flow.name}: {wrong}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

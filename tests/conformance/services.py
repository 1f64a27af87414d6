# ruff: noqa: T201 - a command that talks to its user
"""`python -m tests.conformance.services --cases DIR [--live]`: every svcflows/1 file of a folder.

Each flow is put to the spec and to the compiled tables, walked; with `--live` also to a kernel,
as real packets in namespaces. Prints one line a failed case, then `N passed, N failed`.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from steppe.net.address import parse_address
from steppe.oracle.service import Answer, Backend, World, answer
from tests.conformance.service_flows import (
    FileWorld,
    Flow,
    disagreement,
    is_service_flows,
    read,
    world_of,
)
from tests.kernel.live_services import difference, program
from tests.kernel.service_lab import ServiceLab
from tests.service_walk import Fate, fate, ruleset, tables


def offline(seen: FileWorld, world: World) -> Iterator[tuple[Flow, str]]:
    """Each flow of a world, and what is wrong with it; "" where nothing is."""
    # Cases that have externalIPs mean them: no Problem shall say that there are any.
    allowing = msgspec.structs.replace(world, external_ips="allow")
    state, problems = tables(allowing)
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


def live(seen: FileWorld, world: World) -> Iterator[tuple[Flow, str]]:
    """The same with real packets; everything in the node's pod prefixes is a pod of its own."""
    named = {flow.packet.source for flow in seen.flows}
    named |= {endpoint.address for slice_ in world.slices for endpoint in slice_.endpoints}
    named -= set(world.node.addresses)
    pods = {a for a in named if world.node.has_pods_at(a)}
    with ServiceLab(world.node.addresses, {str(pod): (pod,) for pod in pods}, named - pods) as lab:
        program(lab, world)
        for flow in seen.flows:
            expect = flow.expect
            backends = frozenset(map(_backend, expect.endpoints))
            seen_as_node = backends if expect.masquerade else frozenset()
            fate = Fate(expect.action.lower(), backends, seen_as_node)
            wrong = difference(lab, world.node.addresses, flow.packet, fate)
            yield flow, f"live: {wrong}" if wrong else ""


def _backend(text: str) -> Backend:
    address, _, port = text.rpartition(":")
    return parse_address(address.strip("[]")), int(port)


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
            results = [*offline(seen, world), *(live(seen, world) if given.live else ())]
            for flow, wrong in results:
                passed, failed = passed + (not wrong), failed + bool(wrong)
                if wrong:
                    print(f"{path.name} {seen.id} {flow.name}: {wrong}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The shipped Service worlds, against the spec and against the tables, walked."""

from pathlib import Path

import pytest

from steppe.oracle.service import answer
from tests.conformance.service_flows import Expectation, disagreement, read, world_of
from tests.conformance.services import live, offline

FILE = read(Path(__file__).parent / "data" / "service-flows.json")


@pytest.mark.parametrize("world", FILE.worlds, ids=lambda world: world.id)
def test_spec_and_tables_answer_as_the_file_says(world) -> None:
    results = list(offline(world, world_of(FILE, world)))
    assert len(results) == len(world.flows)
    assert [(flow.name, wrong) for flow, wrong in results if wrong] == []


def test_a_wrong_expectation_is_noticed() -> None:
    world, flow = FILE.worlds[0], FILE.worlds[0].flows[0]
    got = answer(world_of(FILE, world), flow.packet)
    assert disagreement(Expectation("DROP"), got)
    assert disagreement(Expectation("DNAT", ["10.244.9.9:80"], masquerade=False), got)
    assert disagreement(Expectation("DNAT", flow.expect.endpoints, masquerade=True), got)


@pytest.mark.kernel
@pytest.mark.parametrize("world", FILE.worlds, ids=lambda world: world.id)
def test_packets_go_where_the_file_says(world) -> None:
    wrong = [(flow.name, text) for flow, text in live(world, world_of(FILE, world)) if text]
    assert wrong == []

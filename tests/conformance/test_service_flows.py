"""The shipped Service worlds, against the spec."""

from pathlib import Path

import pytest

from steppe.spec.service import answer
from tests.conformance.service_flows import disagreement, read, world_of

FILE = read(Path(__file__).parent / "data" / "service-flows.json")
FLOWS = [(world, flow) for world in FILE.worlds for flow in world.flows]


@pytest.mark.parametrize(("world", "flow"), FLOWS, ids=[f"{w.id}-{f.name}" for w, f in FLOWS])
def test_the_spec_answers_as_the_file_says(world, flow) -> None:
    assert not disagreement(flow.expect, answer(world_of(FILE, world), flow.packet))

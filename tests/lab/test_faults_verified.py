"""Faults put into a node by hand: what verify says of each is what docs/faults.md tells.

Each is packets of all pairs, some ten seconds: `make test` has a third of them, `make faults` all
(STEPPE_FAULTS=full).
"""

import os
import re

import pytest

from tests.lab.conftest import Lab
from tests.lab.test_faults import DOCUMENT, FAULTS, lab, repaired, says, tunnel
from tests.waiting import until

__all__ = ["lab", "tunnel"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

EVERY = 1 if os.environ.get("STEPPE_FAULTS") == "full" else 3
BY_CHANCE = {"an nft element is changed"}
"""Only those packets tell of it that chance sends to one endpoint of a Service."""
HEADING = "## The same, by `steppe verify`"


def documented() -> dict[str, list[str]]:
    """The lines of verify for each fault; none for a fault that packets do not tell of."""
    part = DOCUMENT.read_text().partition(HEADING)[2].partition("\n## ")[0]
    rows = [line[2:].partition(": ") for line in part.splitlines() if line.startswith("- ")]
    return {fault: re.findall("`(.*?)`", told) for fault, _, told in rows}


def test_the_document_tells_of_every_fault() -> None:
    assert documented().keys() == FAULTS.keys() - BY_CHANCE


@pytest.mark.parametrize("name", list(documented())[::EVERY])
def test_verify_names_what_stops_packets(request: pytest.FixtureRequest, name: str) -> None:
    fault, lines = FAULTS[name], documented()[name]
    lab: Lab = request.getfixturevalue(fault.lab)
    fault.make(lab)
    try:
        done = lab.command("verify", "--all", "--port", "8080")
    finally:
        repaired(lab)
        if fault.unmake is not None:
            fault.unmake(lab)
        # A link that gets IPv6 back gets a link-local address of the kernel's a little later.
        until(lambda: repaired(lab).returncode == 0, 10, "all is well again")
    assert [line for line in lines if not says(done.stdout, line)] == [], done.stdout
    assert done.returncode == (1 if lines else 0), done.stdout

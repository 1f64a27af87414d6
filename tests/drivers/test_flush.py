"""After another program's flush the table is back as a whole, soon, over a real kernel."""

import pytest
from bench.flush import flushes

from tests.drivers.conftest import Namespace
from tests.waiting import patience

pytestmark = pytest.mark.kernel

CPU_SECONDS = 0.2


@pytest.mark.parametrize("command", ["flush ruleset", "delete table inet steppe"])
async def test_a_table_of_1000_services_is_back_for_200_ms_of_cpu(
    node: Namespace, command: str
) -> None:
    took = await flushes(node.fd, command, 5)
    # Other tests may run beside this one: the best of a few, by what it costs. `make bench` tells
    # what the clock says of it, which is to be 100 ms.
    assert min(each.cpu for each in took) < CPU_SECONDS, took
    assert min(each.wall for each in took) < patience(5 * CPU_SECONDS), took

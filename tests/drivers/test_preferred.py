"""Which of others' routes the kernel takes before ours."""

from ipaddress import ip_network

import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.preferred import preferred
from steppe.plan.diff import Change
from steppe.state.route import RouteKey
from tests.drivers.conftest import Namespace
from tests.drivers.test_contract import ROUTES

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("row", [ROUTES[0], ROUTES[6]], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("words", "before_ours"),
    [
        (("metric", "1023"), True),
        (("metric", "1025"), False),
        (("metric", "1023", "table", "99"), False),
        (("metric", "1023", "proto", "83"), False),
    ],
)
def test_a_lower_metric_in_the_same_table_is_taken_first(
    node: Namespace, row: tuple, words: tuple[str, ...], before_ours: bool
) -> None:
    key, value = row
    with KernelDriver(node.fd) as driver:
        assert driver.apply([Change(key, None, value)]) == ()
    node.run("ip", "route", "add", str(key.prefix), "dev", "eth0", *words)
    found = [info.key for info in preferred([key], node.fd)]
    assert found == ([RouteKey(key.prefix, metric=1023)] if before_ours else [])


def test_a_route_by_hand_has_no_metric_in_ipv4_and_a_longer_prefix_is_another_matter(
    node: Namespace,
) -> None:
    key, _ = ROUTES[0]
    node.run("ip", "route", "add", str(key.prefix), "via", "192.0.2.1")
    node.run("ip", "route", "add", "10.244.2.0/25", "via", "192.0.2.1")
    (only,) = preferred([key], node.fd)
    assert only.key == RouteKey(ip_network("10.244.2.0/24"), metric=0)

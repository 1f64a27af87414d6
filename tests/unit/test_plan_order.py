"""The order of changes: what an entry needs is there before it, and goes after it."""

import random
from ipaddress import ip_address, ip_network

import pytest

from steppe.plan.diff import Change
from steppe.plan.order import ordered
from steppe.state.nft import Element, ElementKey
from steppe.state.route import RouteKey, route_by
from steppe.state.sysctl import SysctlKey

ROUTE = route_by("eth0", ip_address("2001:db8::1"))
KEYS = (
    SysctlKey("net.ipv4.ip_forward"),
    # Routes of the main table come before those of others, and so are not all of one rank.
    RouteKey(ip_network("fd00:1::/64")),
    RouteKey(ip_network("fd00:2::/64")),
    RouteKey(ip_network("fd00:3::/64"), 7473),
    RouteKey(ip_network("fd00:4::/64"), 7473),
    ElementKey("cluster6", (ip_network("fd00::/48"),)),
)
VALUES = (1, ROUTE, ROUTE, ROUTE, ROUTE, Element())


@pytest.mark.parametrize("seed", range(20))
def test_what_is_needed_is_there_first_and_goes_last(seed: int) -> None:
    pairs = list(zip(KEYS, VALUES, strict=True))
    random.Random(seed).shuffle(pairs)  # noqa: S311 - an order, no secret
    added = [each.key.level for each in ordered(Change(k, None, v) for k, v in pairs)]
    gone = [each.key.level for each in ordered(Change(k, v, None) for k, v in pairs)]
    assert added == sorted(added)
    assert gone == sorted(gone, reverse=True)
    assert len(set(added)) == 4

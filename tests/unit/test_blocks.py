"""Overlapping prefixes, cut apart: every address keeps what held for it."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.compile.blocks import Area, apart
from steppe.net.address import IPNetwork


def test_an_exception_and_an_overlap() -> None:
    areas = [
        Area(ip_network("10.0.0.0/8"), (ip_network("10.128.0.0/9"),), "a"),
        Area(ip_network("10.0.0.0/10"), (), "b"),
        Area(ip_network("fd00::/8"), (), "c"),
    ]
    assert dict(apart(areas, 4)) == {
        ip_network("10.0.0.0/10"): ("a", "b"),
        ip_network("10.64.0.0/10"): ("a",),
    }
    assert dict(apart(areas, 6)) == {ip_network("fd00::/8"): ("c",)}


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_everything_is_one_prefix(everything: str) -> None:
    whole = ip_network(everything)
    assert list(apart([Area(whole, (), "a")], whole.version)) == [(whole, ("a",))]


def _network(number: int, length: int) -> IPNetwork:
    return ip_network((int(ip_address("10.0.0.0")) + number, length), strict=False)


networks = st.builds(_network, st.integers(0, 63), st.integers(26, 32))
areas = st.lists(
    st.builds(Area, networks, st.lists(networks, max_size=3).map(tuple), st.integers(0, 3)),
    max_size=5,
)


@given(areas)
def test_each_address_is_in_one_part_at_most_and_keeps_its_values(given_areas) -> None:
    parts = list(apart(given_areas, 4))
    for number in range(64):
        address = ip_address("10.0.0.0") + number
        wanted = sorted(
            area.value
            for area in given_areas
            if address in area.prefix and not any(address in out for out in area.excepted)
        )
        found = [values for prefix, values in parts if address in prefix]
        assert len(found) == (1 if wanted else 0)
        assert sorted(value for values in found for value in values) == wanted

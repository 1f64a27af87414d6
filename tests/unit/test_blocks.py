"""Nesting prefixes, cut apart: every address keeps what its longest prefix said."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.net.address import IPNetwork
from steppe.net.lpm import LongestPrefix
from steppe.net.nesting import apart


def test_a_hole_and_what_is_in_it() -> None:
    values = {
        ip_network("10.0.0.0/8"): "a",
        ip_network("10.128.0.0/9"): None,
        ip_network("10.192.0.0/10"): "b",
        ip_network("fd00::/8"): "c",
    }
    assert dict(apart(values)) == {
        ip_network("10.0.0.0/9"): "a",
        ip_network("10.192.0.0/10"): "b",
        ip_network("fd00::/8"): "c",
    }


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_everything_is_one_prefix(everything: str) -> None:
    whole = ip_network(everything)
    assert list(apart({whole: "a"})) == [(whole, "a")]


def _network(number: int, length: int) -> IPNetwork:
    return ip_network((int(ip_address("10.0.0.0")) + number, length), strict=False)


networks = st.builds(_network, st.integers(0, 63), st.integers(26, 32))


@given(st.dictionaries(networks, st.none() | st.integers(0, 3), max_size=8))
def test_each_address_is_in_one_part_at_most_with_its_value(values) -> None:
    parts = list(apart(values))
    table = LongestPrefix(values.items())
    for number in range(64):
        address = ip_address("10.0.0.0") + number
        longest = table.lookup(address)
        wanted = [longest[1]] if longest is not None and longest[1] is not None else []
        assert [value for prefix, value in parts if address in prefix] == wanted

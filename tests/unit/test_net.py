from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.net.address import parse_address, parse_prefix, sort_key
from steppe.net.lpm import LongestPrefix
from steppe.net.mac import derived_mac

prefixes = st.one_of(
    st.builds(
        lambda number, length: ip_network((number, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, length: ip_network((number << 64, length), strict=False),
        st.integers(0, 2**64 - 1),
        st.integers(0, 128),
    ),
)


@given(st.lists(prefixes, max_size=30))
def test_longest_prefix_answers_as_the_naive_search_does(known: list) -> None:
    index = LongestPrefix((prefix, str(prefix)) for prefix in known)
    inside = [prefix[0] for prefix in known] + [prefix[-1] for prefix in known]
    for address in [*inside, ip_address("10.0.0.1"), ip_address("fd00::1")]:
        matching = [p for p in known if p.version == address.version and address in p]
        longest = max(matching, key=lambda p: p.prefixlen, default=None)
        found = index.lookup(address)
        assert (found[0] if found else None) == longest


@given(st.lists(prefixes, max_size=10))
def test_mixed_families_sort_ipv4_first_and_by_number(known: list) -> None:
    ordered = sorted(known, key=sort_key)
    assert [p.version for p in ordered] == sorted(p.version for p in known)


@pytest.mark.parametrize("text", ["", "10.0.0", "fe80::1%eth0", "10.0.0.1/24", "::g"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


def test_a_prefix_with_host_bits_is_read_as_go_reads_it() -> None:
    assert parse_prefix("10.244.1.7/24") == ip_network("10.244.1.0/24")


def test_derived_macs_are_unicast_locally_administered_and_differ() -> None:
    one, other = derived_mac("a", "b"), derived_mac("ab")
    assert one != other
    assert int(one[:2], 16) & 3 == 2


octets = st.sampled_from(["0", "7", "255", "256", "01", "+1", " 1", "1_0", "", "²", "٣"])


@given(st.ip_addresses().map(str) | st.lists(octets).map(".".join))
def test_addresses_are_read_as_the_standard_library_reads_them(text: str) -> None:
    try:
        expected = ip_address(text)
    except ValueError:
        with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
            parse_address(text)
    else:
        assert parse_address(text) == expected

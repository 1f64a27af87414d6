"""Sets of ports: an algebra, and how they read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.net.ports import EVERYTHING, NOTHING, PROTOCOLS, PortRange, PortSet, parse_ports

SAMPLES = [(p, n) for p in PROTOCOLS for n in (0, 1, 79, 80, 81, 443, 65534, 65535)]
some = st.lists(
    st.sampled_from(["80", "80-443", "1-79", "53/udp", "icmp", "1-65535/sctp", "81/tcp"]),
    max_size=3,
).map(lambda texts: together(map(parse_ports, texts)))


def together(sets) -> PortSet:
    found = NOTHING
    for each in sets:
        found |= each
    return found


@given(some, some)
def test_the_algebra_is_that_of_sets(one, other) -> None:
    for protocol, port in SAMPLES:
        here, there = one.holds(protocol, port), other.holds(protocol, port)
        assert (one & other).holds(protocol, port) == (here and there)
        assert (one | other).holds(protocol, port) == (here or there)
        assert (one - other).holds(protocol, port) == (here and not there)


@given(some, some)
def test_equal_sets_are_equal_values(one, other) -> None:
    assert (one | other) == (other | one)
    assert (one - other) | (one & other) == one
    assert EVERYTHING - (EVERYTHING - one) == one


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        (NOTHING, "nothing"),
        (EVERYTHING, "everything"),
        (parse_ports("80"), "TCP 80"),
        (parse_ports("80") | parse_ports("81"), "TCP 80-81"),
        (parse_ports("53/UDP") | parse_ports("53"), "TCP 53, UDP 53"),
        (EVERYTHING - parse_ports("22"), "everything but TCP 22"),
        (PortSet((PortRange("UDP"),)), "all UDP"),
        (parse_ports("icmp"), "ICMP"),
    ],
)
def test_sets_read_well(ports, text) -> None:
    assert str(ports) == text


@pytest.mark.parametrize("text", ["", "http", "80/icmp", "0", "65536", "90-80", "-1", "80/", "8 0"])
def test_what_is_no_port_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"is no port|is not between|begins after its end"):
        parse_ports(text)

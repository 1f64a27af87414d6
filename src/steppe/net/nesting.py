"""Cuts nested prefixes into prefixes that do not overlap.

    10.0.0.0/8: a        10.1.0.0/16: nothing        10.1.2.0/24: b
    ─▶ 10.0.0.0/16: a   10.1.2.0/24: b   10.2.0.0/15: a   10.4.0.0/14: a  …

An nft map with intervals does not accept prefixes that overlap.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from steppe.net.address import IPNetwork, holds, sort_key

T = TypeVar("T")
_Span = tuple[int, int]
"""The first address of a prefix as a number, and how many of its low bits vary."""


def apart(values: Mapping[IPNetwork, T | None]) -> Iterator[tuple[IPNetwork, T]]:
    """Prefixes without overlap; for each address the value of its longest given prefix.

    Addresses whose longest prefix has the value None are left out.
    """
    inner: dict[IPNetwork, list[IPNetwork]] = {prefix: [] for prefix in values}
    around: list[IPNetwork] = []
    for prefix in sorted(values, key=sort_key):
        while around and not holds(around[-1], prefix):
            around.pop()
        if around:
            inner[around[-1]].append(prefix)
        around.append(prefix)
    for prefix, value in values.items():
        if value is not None:
            make = IPv4Network if prefix.version == 4 else IPv6Network
            size = prefix.max_prefixlen
            for first, bits in _without(_span(prefix), [_span(each) for each in inner[prefix]]):
                yield make((first, size - bits)), value


def _without(whole: _Span, holes: list[_Span]) -> Iterator[_Span]:
    """The prefix without these parts of it."""
    if not holes:
        yield whole
    elif holes[0] != whole:
        first, bits = whole
        middle = first + (1 << (bits - 1))
        yield from _without((first, bits - 1), [hole for hole in holes if hole[0] < middle])
        yield from _without((middle, bits - 1), [hole for hole in holes if hole[0] >= middle])


def _span(prefix: IPNetwork) -> _Span:
    return int(prefix.network_address), prefix.max_prefixlen - prefix.prefixlen

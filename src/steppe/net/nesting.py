"""Cuts nested prefixes into prefixes that do not overlap.

    10.0.0.0/8: a        10.1.0.0/16: nothing        10.1.2.0/24: b
    ─▶ 10.0.0.0/16: a   10.1.2.0/24: b   10.2.0.0/15: a   10.4.0.0/14: a  …

An nft map with intervals does not accept prefixes that overlap.
"""

from bisect import bisect_left
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
        if value is not None and not inner[prefix]:
            yield prefix, value
        elif value is not None:
            make = IPv4Network if prefix.version == 4 else IPv6Network
            size = prefix.max_prefixlen
            holes = [_span(each) for each in inner[prefix]]
            starts = [first for first, _ in holes]
            last = [first + (1 << bits) - 1 for first, bits in holes]
            for first, bits in _without(_span(prefix), starts, last):
                yield make((first, size - bits)), value


def _without(whole: _Span, holes: list[int], last: list[int]) -> Iterator[_Span]:
    """What of a prefix is in none of these parts of it, which are in order and apart.

    `holes` are their first addresses and `last` their last ones. Each prefix that comes out of it
    costs two look-ups in them.
    """
    open_: list[_Span] = [whole]
    while open_:
        first, bits = open_.pop()
        end = first + (1 << bits) - 1
        at = bisect_left(last, first)
        if at == len(holes) or holes[at] > end:
            yield first, bits
        elif holes[at] > first or last[at] < end:
            middle = first + (1 << (bits - 1))
            open_ += ((middle, bits - 1), (first, bits - 1))


def _span(prefix: IPNetwork) -> _Span:
    return int(prefix.network_address), prefix.max_prefixlen - prefix.prefixlen

"""Prefixes that overlap, cut into prefixes that do not.

    10.0.0.0/8 except 10.1.0.0/16: a        10.1.0.0/24: b
    ─▶ 10.0.0.0/16: a   10.1.0.0/24: b   10.2.0.0/15: a   10.4.0.0/14: a  …

A map of intervals refuses prefixes that overlap, where policies may name the same address often.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

import msgspec

from steppe.net.address import IPNetwork

T = TypeVar("T")
_Range = tuple[int, int]


class Area(msgspec.Struct, Generic[T], frozen=True):
    """A prefix without some parts of it, and what holds for its addresses."""

    prefix: IPNetwork
    excepted: tuple[IPNetwork, ...]
    value: T


class _Open(msgspec.Struct, Generic[T], frozen=True):
    """An area as first and last addresses, as far as it is not decided yet."""

    whole: _Range
    excepted: tuple[_Range, ...]
    value: T


def apart(areas: Iterable[Area[T]], version: int) -> Iterator[tuple[IPNetwork, tuple[T, ...]]]:
    """Prefixes of one family, none covering another, with the values of all areas they are in."""
    bits = 32 if version == 4 else 128
    undecided = [
        _Open(_range(area.prefix), tuple(map(_range, area.excepted)), area.value)
        for area in areas
        if area.prefix.version == version
    ]
    yield from _apart(0, 0, bits, (), undecided)


def _apart(
    first: int, length: int, bits: int, held: tuple[T, ...], undecided: list[_Open[T]]
) -> Iterator[tuple[IPNetwork, tuple[T, ...]]]:
    """The parts of one prefix, all of which is in the areas of the values `held`."""
    last = first + (1 << (bits - length)) - 1
    still: list[_Open[T]] = []
    for area in undecided:
        if not _meet(area.whole, first, last):
            continue
        parts = tuple(part for part in area.excepted if _meet(part, first, last))
        if any(part[0] <= first and last <= part[1] for part in parts):
            continue
        if parts or not (area.whole[0] <= first and last <= area.whole[1]):
            still.append(_Open(area.whole, parts, area.value))
        else:
            held = (*held, area.value)
    if still:
        half = 1 << (bits - length - 1)
        yield from _apart(first, length + 1, bits, held, still)
        yield from _apart(first + half, length + 1, bits, held, still)
    elif held:
        yield _prefix(first, length, bits), held


def _range(prefix: IPNetwork) -> _Range:
    return int(prefix.network_address), int(prefix.broadcast_address)


def _meet(part: _Range, first: int, last: int) -> bool:
    return part[0] <= last and first <= part[1]


def _prefix(first: int, length: int, bits: int) -> IPNetwork:
    return IPv4Network((first, length)) if bits == 32 else IPv6Network((first, length))

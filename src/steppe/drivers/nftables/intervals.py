"""Prefixes that may overlap, over a set that refuses overlaps.

An interval set takes 10.0.0.0/8 or 10.1.0.0/16 but not both ("interval overlaps with an existing
one"), although only the union matters for a packet. So the kernel has the prefixes that no other
one covers, and this class remembers the covered ones: they are added when their cover is deleted.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from steppe.net.address import IPNetwork

_Level = dict[int, IPNetwork]


class Cover:
    """All claimed prefixes of one set (one family).

    Invariant: the kernel's set has exactly the prefixes of `top`: those that no other one covers.
    """

    def __init__(self, prefixes: Iterable[IPNetwork] = ()) -> None:
        self._levels: dict[int, _Level] = {}
        # By first address, then length: the prefixes covered by one are adjacent. A list, since for
        # the size of clusters moving its tail is faster than a tree in Python.
        self._order: list[tuple[int, int]] = []
        for prefix in prefixes:
            self._put(prefix)

    def __contains__(self, prefix: IPNetwork) -> bool:
        return _bits(prefix, prefix.prefixlen) in self._levels.get(prefix.prefixlen, ())

    def __iter__(self) -> Iterator[IPNetwork]:
        for level in self._levels.values():
            yield from level.values()

    def copy(self) -> "Cover":
        return Cover(self)

    def top(self) -> list[IPNetwork]:
        """The prefixes that no other one covers."""
        return [prefix for prefix in self if not self._is_covered(prefix)]

    def add(self, prefix: IPNetwork) -> tuple[list[IPNetwork], list[IPNetwork]]:
        """Add a prefix; returns what to add to the kernel's set, and what to delete before."""
        if prefix in self:
            return [], []
        covered = self._is_covered(prefix)
        beneath = [] if covered else self._top_beneath(prefix)
        self._put(prefix)
        return ([], []) if covered else ([prefix], beneath)

    def remove(self, prefix: IPNetwork) -> tuple[list[IPNetwork], list[IPNetwork]]:
        """Remove a prefix; returns what to add to the kernel's set, and what to delete before."""
        if prefix not in self:
            return [], []
        level = self._levels[prefix.prefixlen]
        del level[_bits(prefix, prefix.prefixlen)]
        del self._order[bisect_left(self._order, _place(prefix))]
        if not level:
            del self._levels[prefix.prefixlen]
        if self._is_covered(prefix):
            return [], []
        return self._top_beneath(prefix), [prefix]

    def _put(self, prefix: IPNetwork) -> None:
        level = self._levels.setdefault(prefix.prefixlen, {})
        bits = _bits(prefix, prefix.prefixlen)
        if bits not in level:
            level[bits] = prefix
            insort(self._order, _place(prefix))

    def _is_covered(self, prefix: IPNetwork) -> bool:
        return any(
            _bits(prefix, length) in level
            for length, level in self._levels.items()
            if length < prefix.prefixlen
        )

    def _top_beneath(self, prefix: IPNetwork) -> list[IPNetwork]:
        last = int(prefix.broadcast_address)
        found = []
        # Of those that begin at its own address, the longer ones come behind it.
        index = bisect_left(self._order, (int(prefix.network_address), prefix.prefixlen + 1))
        while index < len(self._order) and self._order[index][0] <= last:
            address, length = self._order[index]
            index += 1
            inner = self._levels[length][address >> (prefix.max_prefixlen - length)]
            if not self._is_covered(inner):
                found.append(inner)
        return found


def _place(prefix: IPNetwork) -> tuple[int, int]:
    return int(prefix.network_address), prefix.prefixlen


def _bits(prefix: IPNetwork, length: int) -> int:
    return int(prefix.network_address) >> (prefix.max_prefixlen - length)

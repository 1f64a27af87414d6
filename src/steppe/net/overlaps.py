"""Blocks of addresses with values, found by what they overlap.

Two blocks of addresses overlap where one holds the other: the longer prefixes inside a block lie
together in a sorted list, and those around it are found by cutting it to each length in use. So a
question costs the answer and the number of lengths in use, however many blocks there are.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

from steppe.net.address import IPAddress, IPNetwork

V = TypeVar("V", bound=Hashable)

Block = tuple[int, int, int]
"""IP version, first address as a number, prefix length."""
_BITS = {4: 32, 6: 128}


def block_of(what: IPAddress | IPNetwork) -> Block:
    """A prefix as a block, or an address as one of that address alone."""
    if isinstance(what, IPv4Network | IPv6Network):
        return what.version, int(what.network_address), what.prefixlen
    return what.version, int(what), what.max_prefixlen


class Overlaps(Generic[V]):
    """Any number of values for each block.

    Invariant: `_sorted` and `_lengths` tell of the blocks in `_at`, and none of them is empty.
    """

    def __init__(self) -> None:
        self._at: dict[Block, tuple[V, ...]] = {}
        self._sorted: list[Block] = []
        self._lengths: dict[int, Counter[int]] = {4: Counter(), 6: Counter()}

    def add(self, block: Block, value: V) -> None:
        known = self._at.get(block)
        if known is not None:
            if value not in known:
                self._at[block] = (*known, value)
            return
        self._at[block] = (value,)
        insort(self._sorted, block)
        self._lengths[block[0]][block[2]] += 1

    def discard(self, block: Block, value: V) -> None:
        """Take the value away; nothing happens where it is not there."""
        known = self._at.get(block, ())
        left = tuple(each for each in known if each != value)
        if left:
            self._at[block] = left
        if left or not known:
            return
        del self._at[block]
        del self._sorted[bisect_left(self._sorted, block)]
        lengths = self._lengths[block[0]]
        lengths[block[2]] -= 1
        if not lengths[block[2]]:
            del lengths[block[2]]

    def over(self, block: Block) -> Iterator[V]:
        """The values of the blocks that hold this one, and of itself."""
        version, first, length = block
        for known in self._lengths[version]:
            if known <= length:
                shift = _BITS[version] - known
                yield from self._at.get((version, first >> shift << shift, known), ())

    def overlapping(self, block: Block) -> Iterator[V]:
        """The values of the blocks that have an address in common with this one."""
        yield from self.over(block)
        version, first, length = block
        end = first + (1 << _BITS[version] - length)
        start = bisect_left(self._sorted, (version, first, length + 1))
        for index in range(start, len(self._sorted)):
            found = self._sorted[index]
            if found[0] != version or found[1] >= end:
                return
            if found[2] > length:
                yield from self._at[found]

"""Longest-prefix match over a fixed set of prefixes.

There is one dictionary for each prefix length; look-ups try the longest first. A routing table has
few distinct lengths, and in Python a dictionary look-up costs less than a step down a trie.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from steppe.net.address import IPAddress, IPNetwork

V = TypeVar("V")


class LongestPrefix(Generic[V]):
    """Finds the longest of the given prefixes that contains an address."""

    def __init__(self, values: Iterable[tuple[IPNetwork, V]]) -> None:
        """Each prefix once, with its value."""
        levels: dict[tuple[int, int], dict[int, tuple[IPNetwork, V]]] = {}
        for prefix, value in values:
            shift = prefix.max_prefixlen - prefix.prefixlen
            level = levels.setdefault((prefix.version, shift), {})
            level[int(prefix.network_address) >> shift] = (prefix, value)
        self._levels = {
            version: [(s, levels[v, s]) for v, s in sorted(levels) if v == version]
            for version in (4, 6)
        }

    def lookup(self, address: IPAddress) -> tuple[IPNetwork, V] | None:
        """The longest matching prefix and its value, or None."""
        number = int(address)
        for shift, level in self._levels[address.version]:
            found = level.get(number >> shift)
            if found is not None:
                return found
        return None

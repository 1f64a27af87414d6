"""Longest-prefix match over a fixed set of prefixes.

One dictionary a prefix length, tried from the longest: a routing table holds few distinct
lengths, and a dictionary look-up costs less in Python than a step down a trie.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from steppe.net.address import IPAddress, IPNetwork

V = TypeVar("V")


class LongestPrefix(Generic[V]):
    """Answers which of the given prefixes is the longest that holds an address."""

    def __init__(self, values: Mapping[IPNetwork, V]) -> None:
        levels: dict[tuple[int, int], dict[int, tuple[IPNetwork, V]]] = {}
        for prefix, value in values.items():
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

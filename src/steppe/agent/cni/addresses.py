"""Chooses the address of the next pod from the node's own prefixes.

    in use = addresses in the aliases of pod links + reservations of ADDs that are under way

The search starts after the address given last, so that a freed address is not given to another pod
at once: peers may still have connections to it, or have it in a cache. The caller passes the
addresses that are in use in the kernel.
"""

import threading
from collections.abc import Callable, Collection, Iterable

from steppe.errors import SteppeError
from steppe.net.address import IPAddress, IPNetwork


class NoAddressError(SteppeError):
    """There is no free address; the message gives the reason and the cure."""


def capacity(prefix: IPNetwork) -> int:
    """How many addresses for pods a prefix has.

    The first address is not given out (in IPv6 it is the Subnet-Router anycast address, RFC 4291
    section 2.6.1), nor the last one (IPv4's directed broadcast, RFC 919).
    """
    return max(0, prefix.num_addresses - (2 if prefix.version == 4 else 1))


def next_free(
    prefix: IPNetwork, used: Collection[IPAddress], last: IPAddress | None = None
) -> IPAddress | None:
    """The first unused address after `last`, starting again at the end; None if all are used."""
    size = capacity(prefix)
    first = int(prefix.network_address) + 1
    start = (int(last) - first + 1) % size if last is not None and last in prefix and size else 0
    # At most one step more than there are used addresses: IPv6 prefixes are too large to list.
    for step in range(min(size, len(used) + 1)):
        candidate = prefix[1 + (start + step) % size]
        if candidate not in used:
            return candidate
    return None


class Addresses:
    """Reservations, and the address given last in each prefix; one instance for the node.

    Invariant: no two reservations have an address in common, and none has one that was in use when
    it was made.
    """

    def __init__(
        self,
        node: str,
        prefixes: Callable[[], tuple[IPNetwork, ...]],
        refused: Callable[[], str] = str,
    ) -> None:
        """`refused` says why a prefix of the node is not its own; "" where all are."""
        self._node = node
        self._prefixes = prefixes
        self._refused = refused
        self._lock = threading.Lock()
        self._reserved: dict[str, tuple[IPAddress, ...]] = {}
        self._last: dict[IPNetwork, IPAddress] = {}

    def reserve(
        self, link: str, in_use: Callable[[], Iterable[IPAddress]]
    ) -> tuple[IPAddress, ...]:
        """Reserve one address of each family for this link until `release`; NoAddressError if there
        is none.
        """
        prefixes = self._prefixes()
        if why := self._refused():
            raise NoAddressError(why)
        if not prefixes:
            raise NoAddressError(
                f"{self._node} has no pod prefix yet; run steppe's controller, or "
                "kube-controller-manager with --allocate-node-cidrs"
            )
        with self._lock:
            # Read reservations before the kernel: one that is released in between is in the kernel.
            used = {address for held in tuple(self._reserved.values()) for address in held}
            used.update(in_use())
            chosen = tuple(self._choose(prefix, used) for prefix in prefixes)
            self._reserved[link] = chosen
        return chosen

    def release(self, link: str) -> None:
        """End the reservation: the link's ADD has ended, and the kernel now has its addresses."""
        self._reserved.pop(link, None)

    def shortage(self, in_use: Iterable[IPAddress]) -> str:
        """Why `reserve` would fail now; "" if it would succeed."""
        used = set(in_use)
        if why := self._refused():
            return why
        if not self._prefixes():
            return f"{self._node} has no pod prefix yet"
        full = (prefix for prefix in self._prefixes() if next_free(prefix, used) is None)
        return next((self._used_up(prefix) for prefix in full), "")

    def _choose(self, prefix: IPNetwork, used: set[IPAddress]) -> IPAddress:
        inside = {address for address in used if address in prefix}
        # After a restart, take the highest address in use for the one given last.
        last = self._last.get(prefix) or max(inside, key=int, default=None)
        chosen = next_free(prefix, inside, last)
        if chosen is None:
            raise NoAddressError(
                f"{self._used_up(prefix)}; delete pods here, move some to other nodes, or add "
                "a node: a node's prefix cannot grow"
            )
        self._last[prefix] = chosen
        return chosen

    def _used_up(self, prefix: IPNetwork) -> str:
        return f"{self._node}'s prefix {prefix} is used up ({capacity(prefix)} pods)"

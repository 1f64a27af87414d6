"""Deleted peers, whose routes stay for a while in case their Node is registered again.

A Node that is deleted by mistake is registered again by its kubelet. Its pods go on running, and
their objects stay: kube-controller-manager deletes the pods of a missing node after 40 s, and
checks every 20 s (quarantineTime and gcCheckPeriod in pkg/controller/podgc). For that time the
peer's routes stay. They are removed at once if another Node gets a prefix or an address of the
peer.
"""

from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork

HOLD_SECONDS = 60.0


class Departed:
    """The names of deleted peers, each with the time until which its routes stay.

    Invariant: no two of them have a prefix or an address in common; a peer that shares one with
    another node, present or deleted, is not kept.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, Node]] = {}
        self._holders: dict[IPNetwork | IPAddress, str] = {}

    @property
    def due(self) -> float | None:
        """The earliest time at which a peer has to be removed; None if there is no peer."""
        return min((until for until, _ in self._held.values()), default=None)

    def hold(self, node: Node, now: float) -> bool:
        """Keep a deleted peer for a while; False if it has nothing to keep."""
        if node.name in self._held:
            return True
        parts = _parts(node)
        if not (node.prefixes and node.addresses) or not self._holders.keys().isdisjoint(parts):
            return False
        self._held[node.name] = now + HOLD_SECONDS, node
        self._holders.update(dict.fromkeys(parts, node.name))
        return True

    def superseded(self, by: Node) -> frozenset[str]:
        """Remove and return the peers with a prefix or an address that a present node has now."""
        if not self._held:
            return frozenset()
        self._drop(by.name)
        names = {self._holders[part] for part in _parts(by) if part in self._holders}
        for name in names:
            self._drop(name)
        return frozenset(names)

    def let_go(self, now: float) -> frozenset[str]:
        """Remove and return the peers whose time is over."""
        names = frozenset(name for name, (until, _) in self._held.items() if until <= now)
        for name in names:
            self._drop(name)
        return names

    def _drop(self, name: str) -> None:
        _, node = self._held.pop(name, (0.0, None))
        if node is not None:
            for part in _parts(node):
                del self._holders[part]


def _parts(node: Node) -> tuple[IPNetwork | IPAddress, ...]:
    return (*node.networks, *node.addresses)

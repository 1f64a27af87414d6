"""Peers whose Node object was deleted, and whose network stays for a while in case it comes back.

A Node that is deleted by mistake is registered again by its kubelet. Its pods run on meanwhile, and
their objects stay too: kube-controller-manager deletes the pods of a node that is not there after
40 s, looked for every 20 s (quarantineTime and gcCheckPeriod in pkg/controller/podgc). For as long,
the deletion of the Node alone does not cut them off. A Node that takes a prefix or an address of
such a peer ends that at once.
"""

from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork

HOLD_SECONDS = 60.0


class Departed:
    """Names of deleted peers, each with the time until which its network stays.

    Invariant: no two of them have a prefix or an address in common; whoever had one that another
    node has as well, present or departed, is not kept.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, Node]] = {}
        self._holders: dict[IPNetwork | IPAddress, str] = {}

    @property
    def due(self) -> float | None:
        """When the next is to be let go; None where there are none."""
        return min((until for until, _ in self._held.values()), default=None)

    def hold(self, node: Node, now: float) -> bool:
        """Keep its network for a while; False where there is none to keep."""
        if node.name in self._held:
            return True
        parts = _parts(node)
        if not (node.prefixes and node.addresses) or not self._holders.keys().isdisjoint(parts):
            return False
        self._held[node.name] = now + HOLD_SECONDS, node
        self._holders.update(dict.fromkeys(parts, node.name))
        return True

    def superseded(self, by: Node) -> frozenset[str]:
        """Others whose prefixes or addresses a present node has now; they are held no more."""
        if not self._held:
            return frozenset()
        self._drop(by.name)
        names = {self._holders[part] for part in _parts(by) if part in self._holders}
        for name in names:
            self._drop(name)
        return frozenset(names)

    def let_go(self, now: float) -> frozenset[str]:
        """Those whose time is over; they are held no more."""
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

"""Deleted peers, whose routes stay for a while in case their Node is registered again.

A Node that is deleted by mistake is registered again by its kubelet. Its pods run on meanwhile, and
their objects stay too: kube-controller-manager deletes the pods of a node that is not there after
40 s, looked for every 20 s (quarantineTime and gcCheckPeriod in pkg/controller/podgc). For as long,
the deletion of the Node alone does not cut them off. A Node that asks for an address or a prefix
that overlaps one of such a peer ends that at once.
"""

from collections.abc import Collection, Iterable

from steppe.kube.objects import Node

HOLD_SECONDS = 60.0


class Departed:
    """The names of deleted peers, each with the time until which its routes stay.

    Whoever asked for something that another node, present or departed, asks for as well is not
    kept: who that is, the caller says.
    """

    def __init__(self) -> None:
        self._held: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._held)

    @property
    def due(self) -> float | None:
        """When the next is to be let go; None where there are none."""
        return min(self._held.values(), default=None)

    def hold(self, node: Node, now: float) -> bool:
        """Keep its network for a while; False where there is none to keep."""
        if not (node.prefixes and node.addresses):
            return False
        self._held.setdefault(node.name, now + HOLD_SECONDS)
        return True

    def superseded(self, name: str, rivals: Collection[str]) -> frozenset[str]:
        """Those of a present node's rivals that are held; they and the node are held no more."""
        self._held.pop(name, None)
        return self._drop(self._held.keys() & rivals)

    def let_go(self, now: float) -> frozenset[str]:
        """Those whose time is over; they are held no more."""
        return self._drop({name for name, until in self._held.items() if until <= now})

    def _drop(self, names: Iterable[str]) -> frozenset[str]:
        gone = frozenset(names)
        for name in gone:
            del self._held[name]
        return gone

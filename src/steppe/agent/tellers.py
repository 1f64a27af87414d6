"""Which agent tells of an object that all agents see: they agree on it without a word.

Nodes have places on a ring, by their hashes, and so have objects (consistent hashing): the node
that follows an object tells of it. The work is spread, and a node that is added or removed moves
only its own share.
"""

import hashlib
from bisect import bisect
from collections.abc import Iterable, Iterator

from steppe.client.resources import NODES
from steppe.kube.cause import ObjectRef


class Tellers:
    """Of a cluster with these nodes; to find one costs the logarithm of their number."""

    def __init__(self, nodes: Iterable[str] = ()) -> None:
        self.nodes = frozenset(nodes)
        self._ring = sorted((_place(node), node) for node in self.nodes)

    def teller(self, ref: ObjectRef) -> str:
        """The node whose agent reports an object's Problems; "" if there are no nodes."""
        return ref.name if ref.full_kind == NODES.kind else next(self._from(str(ref)), "")

    def witness(self, ref: ObjectRef) -> str:
        """The node whose agent tells what peers find wrong with a Node, which may have no agent."""
        return next((node for node in self._from(ref.name) if node != ref.name), "")

    def _from(self, text: str) -> Iterator[str]:
        first = bisect(self._ring, (_place(text), ""))
        for number in range(first, first + len(self._ring)):
            yield self._ring[number % len(self._ring)][1]


def _place(text: str) -> bytes:
    return hashlib.blake2b(text.encode()).digest()

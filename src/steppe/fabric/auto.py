"""`auto`: for each peer, the first of several fabrics that can carry packets to it."""

from collections.abc import Iterator, Mapping

from steppe.fabric.protocol import Fabric, Need, Option
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.node import NodeClaim


class Auto:
    """Chooses a fabric for each peer: the first one whose `carries` is true, else the last one.

    The devices of all fabrics are made on every node, because any peer may need one.
    """

    def __init__(self, fabrics: Mapping[str, Fabric]) -> None:
        self._fabrics = tuple(fabrics.values())
        self.summary = f"for each peer the first of {' and '.join(fabrics)} that carries to it"
        self.links = tuple(dict.fromkeys(name for one in self._fabrics for name in one.links))
        self.options: tuple[Option, ...] = tuple(
            dict.fromkeys(option for one in self._fabrics for option in one.options)
        )
        self.needs: tuple[Need, ...] = tuple(
            dict.fromkeys(need for one in self._fabrics for need in one.needs)
        )

    def towards_by(self, here: Node, peer: Node) -> Fabric:
        """The fabric that carries packets to this peer."""
        carrying = (fabric for fabric in self._fabrics if fabric.carries(here, peer))
        return next(carrying, self._fabrics[-1])

    def carries(self, here: Node, peer: Node) -> bool:
        return any(fabric.carries(here, peer) for fabric in self._fabrics)

    def devices(self, settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
        for fabric in self._fabrics:
            yield from fabric.devices(settings, here)

    def towards(self, settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
        yield from self.towards_by(here, peer).towards(settings, here, peer)

    def mtu(self, settings: Settings, here: Node) -> int:
        """The largest MTU of the fabrics.

        For a packet that is too large for a tunnel, the node itself answers "fragmentation
        needed". So each path has its own MTU, and direct paths keep the larger one.
        """
        return max(fabric.mtu(settings, here) for fabric in self._fabrics)

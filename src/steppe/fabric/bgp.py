"""`bgp`: routes by the nodes' own addresses, and beside them those that BIRD learns.

The claims are those of `direct` for peers on the same subnet: Steppe's own route with metric 1024
stays in the kernel under BIRD's with 512, so that no session that flaps, and no BIRD that is
killed, costs a packet. Peers behind a router have no route of ours: the way to them is what a
router tells BIRD (BGPPeer). The sessions are made by steppe.bgp and agent/bgp.
"""

from collections.abc import Iterator

from steppe.fabric import direct
from steppe.fabric.direct import carries, devices, mtu, tunnels
from steppe.fabric.protocol import Need, Option
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.node import NodeClaim

summary = "plain routes, told to nodes and routers by BGP (BIRD 2)"
links: tuple[str, ...] = ()
options: tuple[Option, ...] = ()
needs: tuple[Need, ...] = ()

__all__ = [
    "carries",
    "devices",
    "links",
    "mtu",
    "needs",
    "options",
    "summary",
    "towards",
    "tunnels",
]


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The floor under what BIRD learns, for peers on the underlay's subnet."""
    known = bool(here.underlay.addresses)
    if known and not any(here.underlay.on_link(address) for address in peer.addresses):
        return
    yield from direct.towards(settings, here, peer)

"""`gre`: packets between pods travel inside GRE between nodes (RFC 2784, over IPv6 RFC 7676).

One device for each node, for both families; each route names the outer header:

    10.244.2.0/24 encap ip id 0 src 192.0.2.11 dst 192.0.2.12 ttl 64 dev steppe-gre metric 1024
"""

from collections.abc import Iterator

from steppe.fabric import overlay
from steppe.fabric.overlay import TTL, Ends
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork
from steppe.settings import Settings
from steppe.state.device import Gre, Gre6
from steppe.state.link import Link
from steppe.state.node import NodeClaim
from steppe.state.route import Encap, Hop

DEVICE = "steppe-gre"
HEADER = 4

summary = "GRE tunnels, where routers or other equipment expect protocol 47"
links = (DEVICE,)
options: tuple[Option, ...] = ()
needs = (
    Need("gre", "fabric gre over IPv4", ("external",), "ip_gre"),
    Need("ip6gre", "fabric gre over IPv6", ("external",), "ip6_gre"),
)
carries = overlay.carries


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The tunnel device, and the rules for what local pods send."""

    def link(local: IPAddress) -> Link:
        return Link(Gre() if local.version == 4 else Gre6(), mtu(settings, here), "")

    yield from overlay.devices(here, DEVICE, link)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The routes to one peer's pods, and to the peer's own addresses from local pods."""
    del settings
    yield from overlay.towards(here, peer, _hop)


def _hop(between: Ends, prefix: IPNetwork) -> Hop:
    del prefix
    return Hop(None, DEVICE, encap=Encap(between.remote, 0, TTL, between.local))


def tunnels(settings: Settings) -> tuple[Tunnel, ...]:
    """One kind, and without a key: who may send them is asked at the node's edges."""
    del settings
    return (Tunnel(DEVICE, protocol="gre"),)


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus outer IP header and GRE (4), in bytes."""
    del settings
    return here.underlay.mtu - overlay.outer_size(here) - HEADER

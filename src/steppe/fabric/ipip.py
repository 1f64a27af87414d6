"""`ipip`: packets between pods travel inside IP packets between nodes, with no header between.

Of the tunnels it is the smallest: 20 bytes over IPv4 (RFC 2003, RFC 4213), 40 over IPv6 (RFC 2473).
One device for each node carries both families, and routes are all it takes:

    10.244.2.0/24         via 192.0.2.12   dev steppe-ipip metric 1024 onlink
    fd00:10:244:2::/64    via ::192.0.2.12 dev steppe-ipip metric 1024 onlink

Over IPv4 the device is of kind sit, `mode any`: that one takes both families, ipip only IPv4. Over
IPv6 it is an ip6tnl, and the routes name the outer header (`encap ip6 src … dst …`).
"""

from collections.abc import Iterator
from ipaddress import IPv6Address

from steppe.fabric import overlay
from steppe.fabric.overlay import TTL, Ends
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork
from steppe.settings import Settings
from steppe.state.device import Ip6Tunnel, Sit
from steppe.state.link import Link
from steppe.state.node import NodeClaim
from steppe.state.route import Encap, Hop

DEVICE = "steppe-ipip"

summary = "the smallest tunnels, IP in IP, where routers pass protocols 4 and 41"
links = (DEVICE,)
options: tuple[Option, ...] = ()
needs = (
    Need("sit", "fabric ipip over IPv4", ("mode", "any", "local", "127.0.0.1"), "sit"),
    Need("ip6tnl", "fabric ipip over IPv6", ("external",), "ip6_tunnel"),
)
carries = overlay.carries


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The tunnel device, and the rules for what local pods send."""

    def link(local: IPAddress) -> Link:
        kind = Sit(local, TTL) if local.version == 4 else Ip6Tunnel()
        return Link(kind, mtu(settings, here), "")

    yield from overlay.devices(here, DEVICE, link)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The routes to one peer's pods, and to the peer's own addresses from local pods."""
    del settings
    yield from overlay.towards(here, peer, _hop)


def _hop(between: Ends, prefix: IPNetwork) -> Hop:
    if between.remote.version == 6:
        return Hop(None, DEVICE, encap=Encap(between.remote, 0, TTL, between.local))
    same = prefix.version == 4
    via = between.remote if same else IPv6Address(int(between.remote))
    return Hop(via, DEVICE, onlink=True)


def tunnels(settings: Settings) -> tuple[Tunnel, ...]:
    """One for each family inside."""
    del settings
    return (Tunnel(DEVICE, protocol="ipencap"), Tunnel(DEVICE, protocol="ipv6"))


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus the outer IP header, in bytes."""
    del settings
    return here.underlay.mtu - overlay.outer_size(here)

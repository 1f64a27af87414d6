"""`geneve`: packets between pods travel inside GENEVE between nodes (RFC 8926).

One device for each node; each route names the outer header, and neighbour entries the MAC address
of the device at the other end:

    route  10.244.2.0/24 encap ip id 7473 src 192.0.2.11 dst 192.0.2.12 ttl 64
           via 10.244.2.0 dev steppe-geneve metric 1024 onlink
    neigh  10.244.2.0 lladdr MAC(node-b)
"""

from collections.abc import Iterator

from steppe.fabric import overlay
from steppe.fabric.overlay import TTL, Ends, next_hop
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.mac import derived_mac
from steppe.settings import Settings
from steppe.state.claim import Claim
from steppe.state.device import Geneve
from steppe.state.link import Link, Neighbour, NeighbourKey
from steppe.state.node import NodeClaim
from steppe.state.route import Encap, Hop

DEVICE = "steppe-geneve"
HEADERS = 8 + 8 + 14
"""UDP, GENEVE without options, Ethernet."""
VNI = Option("geneve-vni", 7473, 1, (1 << 24) - 1, "the GENEVE virtual network identifier")
# "IANA has allocated UDP port 6081" (RFC 8926, section 7).
PORT = Option("geneve-port", 6081, 1, 65535, "the UDP port of GENEVE")

summary = "tunnels in UDP too, for networks and cards that know GENEVE"
links = (DEVICE,)
options = (VNI, PORT)
needs = (Need("geneve", "fabric geneve", ("external",), "geneve"),)
carries = overlay.carries


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The tunnel device, and the rules for what local pods send."""

    def link(local: IPAddress) -> Link:
        del local
        return Link(Geneve(PORT.of(settings)), mtu(settings, here), device_mac(here))

    yield from overlay.devices(here, DEVICE, link)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The entries to reach one peer's pods, and the peer's own addresses from local pods."""
    number = VNI.of(settings)

    def hop(between: Ends, prefix: IPNetwork) -> Hop:
        # Over IPv6 a receiver drops UDP without a checksum (RFC 8200, section 8.1).
        checksum = between.remote.version == 6
        outer = Encap(between.remote, number, TTL, between.local, checksum)
        return Hop(next_hop(prefix), DEVICE, onlink=True, encap=outer)

    if overlay.carries(here, peer):
        for prefix in peer.prefixes:
            key = NeighbourKey(DEVICE, next_hop(prefix.network))
            yield Claim(key, Neighbour(device_mac(peer)), prefix.cause, peer.created)
    yield from overlay.towards(here, peer, hop)


def device_mac(node: Node) -> str:
    """The device drops frames that come from its own address, so each node has another one."""
    return derived_mac("geneve", node.name)


def tunnels(settings: Settings) -> tuple[Tunnel, ...]:
    """One kind: a device in external mode takes any identifier."""
    return (Tunnel(DEVICE, PORT.of(settings)),)


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus outer IP header, UDP, GENEVE and Ethernet, in bytes."""
    del settings
    return here.underlay.mtu - overlay.outer_size(here) - HEADERS

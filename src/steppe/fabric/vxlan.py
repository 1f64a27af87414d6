"""`vxlan`: packets between pods travel inside UDP packets between nodes (RFC 7348).

One device for each node, without flooding and learning: routes, neighbour entries and forwarding
entries are all written from the Node objects.

    route   10.244.2.0/24 via 10.244.2.0 dev steppe-vxlan metric 1024 onlink
    neigh   10.244.2.0 lladdr MAC(node-b)
    fdb     MAC(node-b) dst 192.0.2.12
"""

from collections.abc import Iterator

from steppe.fabric import overlay
from steppe.fabric.overlay import Ends, next_hop
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.mac import derived_mac
from steppe.settings import Settings
from steppe.state.claim import Claim
from steppe.state.device import Vxlan
from steppe.state.link import (
    Forwarding,
    ForwardingKey,
    Link,
    Neighbour,
    NeighbourKey,
)
from steppe.state.node import NodeClaim
from steppe.state.route import Hop

DEVICE = "steppe-vxlan"
VNI = Option("vxlan-vni", 7473, 1, (1 << 24) - 1, "the VXLAN network identifier")
# "IANA has assigned the value 4789 for the VXLAN UDP port" (RFC 7348, section 5).
PORT = Option("vxlan-port", 4789, 1, 65535, "the UDP port of VXLAN")

summary = "tunnels in UDP between nodes, across any routers"
links = (DEVICE,)
options = (VNI, PORT)
needs = (
    Need(
        "vxlan",
        "pods on nodes of different subnets",
        ("id", "1", "dstport", "4789", "local", "127.0.0.1", "nolearning"),
    ),
)
carries = overlay.carries


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The tunnel device, and the rules for what local pods send."""

    def link(local: IPAddress) -> Link:
        kind = Vxlan(VNI.of(settings), PORT.of(settings), local, here.underlay.link)
        return Link(kind, mtu(settings, here), device_mac(here))

    yield from overlay.devices(here, DEVICE, link)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The entries to reach one peer's pods, and the peer's own addresses from local pods."""
    del settings
    between = overlay.ends(here, peer)
    if between is not None and peer.prefixes:
        mac, cause = device_mac(peer), Cause(peer.ref, "status.addresses")
        yield Claim(ForwardingKey(DEVICE, mac), Forwarding(between.remote), cause, peer.created)
        for prefix in peer.prefixes:
            key = NeighbourKey(DEVICE, next_hop(prefix.network))
            yield Claim(key, Neighbour(mac), prefix.cause, peer.created)
    yield from overlay.towards(here, peer, _hop)


def _hop(between: Ends, prefix: IPNetwork) -> Hop:
    del between
    return Hop(next_hop(prefix), DEVICE, onlink=True)


def device_mac(node: Node) -> str:
    return derived_mac("vxlan", node.name)


def tunnels(settings: Settings) -> tuple[Tunnel, ...]:
    """One kind, and anybody who reaches the port could send it: VXLAN itself asks for no name."""
    return (Tunnel(DEVICE, PORT.of(settings)),)


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus outer IP header, UDP (8), VXLAN (8) and Ethernet (14), in bytes."""
    del settings
    return here.underlay.mtu - overlay.outer_size(here) - 30

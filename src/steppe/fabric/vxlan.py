"""`vxlan`: packets between pods travel inside UDP packets between nodes (RFC 7348).

One device for each node, without flooding and learning: routes, neighbour entries and forwarding
entries are all written from the Node objects.

    route   10.244.2.0/24 via 10.244.2.0 dev steppe-vxlan metric 1024 onlink
    neigh   10.244.2.0 lladdr MAC(node-b)
    fdb     MAC(node-b) dst 192.0.2.12

Packets of pods to other nodes' own addresses take the tunnel as well (a rule looks local pods'
packets up in TABLE first): an underlay that needs an overlay may drop packets with pod addresses,
and so it never sees one.
"""

from collections.abc import Iterator

from steppe.fabric.protocol import Need, Option
from steppe.fabric.source import preferred_source
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork, host_prefix, of_version
from steppe.net.mac import derived_mac
from steppe.settings import Settings
from steppe.state.claim import Claim
from steppe.state.device import Vxlan
from steppe.state.link import (
    Forwarding,
    ForwardingKey,
    Link,
    LinkKey,
    Neighbour,
    NeighbourKey,
)
from steppe.state.node import NodeClaim
from steppe.state.route import RouteKey, Rule, RuleKey, route_by
from steppe.state.sysctl import Sysctl, SysctlKey

DEVICE = "steppe-vxlan"
TABLE = 7473
"""The routing table for what local pods send; all other packets use only the main table."""
RULE_PRIORITY = 7473
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


def carries(here: Node, peer: Node) -> bool:
    """Whether the peer has an address of the family of this node's tunnel end."""
    local = tunnel_address(here)
    return local is not None and peer.address(local.version) is not None


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The tunnel device, and the rules that look its pods' packets up in TABLE."""
    cause = Cause(here.ref, "status.addresses")
    local = tunnel_address(here)
    if local is None:
        yield Problem(cause, "no InternalIP, so no tunnel can end here; give the node an address")
        return
    vxlan = Vxlan(VNI.of(settings), PORT.of(settings), local, here.underlay.link)
    link = Link(vxlan, mtu(settings, here), device_mac(here))
    yield Claim(LinkKey(DEVICE), link, cause)
    if any(prefix.version == 6 for prefix in here.prefixes):
        # A router advertisement from the tunnel must not change the node's routes.
        yield Claim(SysctlKey(f"net/ipv6/conf/{DEVICE}/accept_ra"), Sysctl("0"), cause)
    for prefix in here.prefixes:
        yield Claim(RuleKey(prefix.network, RULE_PRIORITY), Rule(TABLE), prefix.cause)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The entries to reach one peer's pods, and the peer's own addresses from local pods."""
    del settings
    cause = Cause(peer.ref, "status.addresses")
    local = tunnel_address(here)
    if local is None:
        return  # devices() has said so already
    remote = peer.address(local.version)
    if remote is None:
        yield Problem(
            cause,
            f"no tunnel from {here.name} to {peer.name}: {here.name}'s ends at an "
            f"IPv{local.version} address and {peer.name} has none; give the node one",
        )
        return
    if not peer.prefixes:
        return
    mac = device_mac(peer)
    yield Claim(ForwardingKey(DEVICE, mac), Forwarding(remote), cause, peer.created)
    for prefix in peer.prefixes:
        because = prefix.cause
        hop = next_hop(prefix.network)
        yield Claim(NeighbourKey(DEVICE, hop), Neighbour(mac), because, peer.created)
        source = preferred_source(here, prefix.version)
        route = route_by(DEVICE, hop, onlink=True, source=source)
        yield Claim(RouteKey(prefix.network), route, because, peer.created)
    yield from _node_routes(peer, cause)


def _node_routes(peer: Node, cause: Cause) -> Iterator[NodeClaim]:
    """Routes to the peer's own addresses, for local pods only: outer packets must not use them."""
    for address in peer.addresses:
        prefix = of_version(peer.networks, address.version)
        if prefix is not None:
            route = route_by(DEVICE, next_hop(prefix), onlink=True)
            yield Claim(RouteKey(host_prefix(address), TABLE), route, cause, peer.created)


def next_hop(prefix: IPNetwork) -> IPAddress:
    """The first address of a node's prefix; no pod has it, and readers know the node by it."""
    return prefix.network_address


def tunnel_address(node: Node) -> IPAddress | None:
    """A node's tunnel end: its IPv4 address if it has one (20 bytes less overhead), else IPv6."""
    return node.address(4) or node.address(6)


def device_mac(node: Node) -> str:
    return derived_mac("vxlan", node.name)


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus outer IP header, UDP (8), VXLAN (8) and Ethernet (14), in bytes."""
    del settings
    local = tunnel_address(here)
    outer = 40 if local is not None and local.version == 6 else 20
    return here.underlay.mtu - outer - 30

"""What all fabrics with one tunnel device a node have in common.

Packets of pods to other nodes' own addresses take the tunnel as well (a rule looks local pods'
packets up in TABLE first): an underlay that needs an overlay may drop packets with pod addresses,
and so it never sees one.
"""

from collections.abc import Callable, Iterator

import msgspec

from steppe.fabric.source import preferred_source
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork, host_prefix, of_version
from steppe.state.claim import Claim
from steppe.state.link import Link, LinkKey
from steppe.state.node import NodeClaim
from steppe.state.route import Hop, Route, RouteKey, Rule, RuleKey
from steppe.state.sysctl import Sysctl, SysctlKey

TABLE = 7473
"""The routing table for what local pods send; all other packets use only the main table."""
RULE_PRIORITY = 7473
TTL = 64
"""Of outer packets, where the kernel would copy that of the inner one, or leave it at 0."""


class Ends(msgspec.Struct, frozen=True):
    """The addresses of both ends of a tunnel: of one family."""

    local: IPAddress
    remote: IPAddress


Hops = Callable[[Ends, IPNetwork], Hop]
"""The hop of a route to packets for a pod prefix of the peer, by the ends of the tunnel to it."""


def tunnel_address(node: Node) -> IPAddress | None:
    """A node's tunnel end: its IPv4 address if it has one (20 bytes less overhead), else IPv6."""
    return node.address(4) or node.address(6)


def outer_size(here: Node) -> int:
    """The bytes of the outer IP header."""
    local = tunnel_address(here)
    return 40 if local is not None and local.version == 6 else 20


def next_hop(prefix: IPNetwork) -> IPAddress:
    """The first address of a node's prefix; no pod has it, and readers know the node by it."""
    return prefix.network_address


def carries(here: Node, peer: Node) -> bool:
    """Whether the peer has an address of the family of this node's tunnel end."""
    return ends(here, peer) is not None


def ends(here: Node, peer: Node, version: int = 0) -> Ends | None:
    """The ends of the tunnel between two nodes, of this family or else of `tunnel_address`'s; None
    if there can be none.
    """
    local = here.address(version) if version else tunnel_address(here)
    remote = peer.address(local.version) if local is not None else None
    return Ends(local, remote) if local is not None and remote is not None else None


def devices(
    here: Node, name: str, link: Callable[[IPAddress], Link]
) -> Iterator[NodeClaim | Problem]:
    """The only tunnel device, which ends at the address that `link` is given, and the rules."""
    local = tunnel_address(here)
    if local is None:
        yield no_end(here)
        return
    yield from device(here, name, link(local))
    yield from rules(here)


def no_end(here: Node) -> Problem:
    """That a node has no address for its tunnels."""
    cause = Cause(here.ref, "status.addresses")
    return Problem(cause, "no InternalIP, so no tunnel can end here; give the node an address")


def rules(here: Node) -> Iterator[NodeClaim]:
    """The rules that look the packets of the node's pods up in TABLE."""
    for prefix in here.prefixes:
        yield Claim(RuleKey(prefix.network, RULE_PRIORITY), Rule(TABLE), prefix.cause)


def device(here: Node, name: str, link: Link) -> Iterator[NodeClaim]:
    """One tunnel device."""
    cause = Cause(here.ref, "status.addresses")
    yield Claim(LinkKey(name), link, cause)
    if any(prefix.version == 6 for prefix in here.prefixes):
        # A router advertisement from the tunnel must not change the node's routes.
        yield Claim(SysctlKey(f"net/ipv6/conf/{name}/accept_ra"), Sysctl("0"), cause)


def towards(here: Node, peer: Node, hop: Hops) -> Iterator[NodeClaim | Problem]:
    """The routes to one peer's pods, and to the peer's own addresses from local pods."""
    local, between = tunnel_address(here), ends(here, peer)
    if local is None:
        return  # devices() has said so already
    if between is None:
        yield Problem(
            Cause(peer.ref, "status.addresses"),
            f"no tunnel from {here.name} to {peer.name}: {here.name}'s ends at an "
            f"IPv{local.version} address and {peer.name} has none; give the node one",
        )
        return
    yield from routes(here, peer, between, hop)


def routes(
    here: Node, peer: Node, between: Ends, hop: Hops, versions: tuple[int, ...] = (4, 6)
) -> Iterator[NodeClaim]:
    """The routes by one tunnel, for pods' packets of these families."""
    cause = Cause(peer.ref, "status.addresses")
    for prefix in peer.prefixes:
        if prefix.version not in versions:
            continue
        source = preferred_source(here, prefix.version)
        route = Route(hops=(hop(between, prefix.network),), source=source)
        yield Claim(RouteKey(prefix.network), route, prefix.cause, peer.created)
    for address in peer.addresses if peer.prefixes else ():
        network = of_version(peer.networks, address.version)
        if network is not None and network.version in versions:
            # For local pods only: outer packets must not use these.
            route = Route(hops=(hop(between, network),))
            yield Claim(RouteKey(host_prefix(address), TABLE), route, cause, peer.created)

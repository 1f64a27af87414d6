"""`direct`: the next hop to a node's pods is the node itself, on the same L2 network.

No header is added, so pods use the underlay's own MTU.
"""

from collections.abc import Iterator

from steppe.fabric.protocol import Need, Option
from steppe.fabric.source import preferred_source
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.claim import Claim
from steppe.state.node import NodeClaim
from steppe.state.route import RouteKey, route_by

summary = "plain routes by the nodes' own addresses, on one L2 network"
links: tuple[str, ...] = ()
options: tuple[Option, ...] = ()
needs: tuple[Need, ...] = ()


def carries(here: Node, peer: Node) -> bool:
    """Whether the peer is on the underlay's subnet: no router, which has no routes to pod prefixes,
    is between the two nodes.
    """
    addresses = peer.addresses
    return bool(addresses) and all(here.underlay.on_link(address) for address in addresses)


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """No claims: the only device is the underlay's link, which exists."""
    del settings, here
    yield from ()


def mtu(settings: Settings, here: Node) -> int:
    del settings
    return here.underlay.mtu


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """One route to each pod prefix of the peer, with the peer's address as next hop."""
    del settings
    for prefix in peer.prefixes:
        cause = prefix.cause
        via = peer.address(prefix.version)
        if via is None:
            # A next hop of the other family (RTA_VIA) is not used here.
            yield Problem(
                cause,
                f"no route to {prefix}: {peer.name} has no IPv{prefix.version} InternalIP; "
                f"give the node one, or use a fabric with tunnels",
            )
            continue
        if here.underlay.addresses and not here.underlay.on_link(via):
            yield Problem(
                cause,
                f"no direct route to {prefix}: {peer.name} ({via}) is not on {here.name}'s subnet; "
                f"use the auto fabric, or one with tunnels",
            )
            continue
        source = preferred_source(here, prefix.version)
        route = route_by(here.underlay.link, via, source=source)
        yield Claim(RouteKey(prefix.network), route, cause, peer.created)

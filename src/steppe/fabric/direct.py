"""`direct`: the next hop to a node's pods is the node itself, on the same L2 network.

No header is added, so pods use the underlay's own MTU.
"""

from collections.abc import Iterator

from steppe.fabric.source import preferred_source
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.state.claim import Claim
from steppe.state.node import NodeClaim
from steppe.state.route import Route, RouteKey


def peer_claims(here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """One route to each pod prefix of the peer, by the peer's address."""
    for prefix in peer.prefixes:
        cause = prefix.cause
        via = peer.address(prefix.version)
        if via is None:
            # We never cross families (no RTA_VIA), so there is no next hop.
            yield Problem(
                cause,
                f"no route to {prefix}: {peer.name} has no IPv{prefix.version} InternalIP; "
                f"give the node one, or use the vxlan fabric",
            )
            continue
        if here.underlay.addresses and not here.underlay.on_link(via):
            yield Problem(
                cause,
                f"no direct route to {prefix}: {peer.name} ({via}) is not on {here.name}'s subnet; "
                f"use the auto or vxlan fabric",
            )
            continue
        route = Route(
            via=via, link=here.underlay.link, source=preferred_source(here, prefix.version)
        )
        yield Claim(RouteKey(prefix.network), route, cause, peer.created)

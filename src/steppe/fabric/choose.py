"""Which fabric carries packets between two nodes, and what that means for a pod's MTU.

To add a fabric: a module with `device_claims` (what the node itself needs) and `peer_claims`
(what one peer adds), and a line in each function here.
"""

from collections.abc import Iterator
from typing import Literal

from steppe.fabric import direct, vxlan
from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.node import NodeClaim


def path_between(settings: Settings, here: Node, peer: Node) -> Literal["direct", "vxlan"]:
    """`auto` is direct to a peer on the underlay's own subnet, and vxlan across a router."""
    if settings.fabric != "auto":
        return settings.fabric
    addresses = peer.addresses
    on_link = bool(addresses) and all(here.underlay.on_link(address) for address in addresses)
    return "direct" if on_link else "vxlan"


def device_claims(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """What the node needs whoever its peers are."""
    if settings.fabric != "direct":
        yield from vxlan.device_claims(settings, here)


def peer_claims(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """What reaching this peer's pods takes."""
    if path_between(settings, here, peer) == "direct":
        yield from direct.peer_claims(here, peer)
    else:
        yield from vxlan.peer_claims(here, peer)


def pod_mtu(settings: Settings, here: Node) -> int:
    """The MTU of pods' own links, in bytes.

    Under `auto` it is the underlay's: the node answers too large a packet for a tunnel with
    "fragmentation needed" itself, so each path gets its own MTU and direct ones lose nothing.
    """
    return vxlan.tunnel_mtu(here) if settings.fabric == "vxlan" else here.underlay.mtu

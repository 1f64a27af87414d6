"""`ipip`: packets between pods travel inside IP packets between nodes, with no header between.

Of the tunnels it is the smallest. Each family has a device and travels in its own: IPv4 in IPv4
takes 20 bytes (RFC 2003), IPv6 in IPv6 40 (RFC 2473). On nodes without an IPv4 address the second
device carries both. Each route names the outer header:

    10.244.2.0/24      encap ip id 0 src 192.0.2.11 dst 192.0.2.12 ttl 64 dev steppe-ipip
    fd00:10:244:2::/64 encap ip6 id 0 src 2001:db8::11 dst 2001:db8::12 ttl 64 dev steppe-ipip6

Not for IPv6 in IPv4: devices of kind sit keep one outer route for all peers (the dst_cache in
ipip6_tunnel_xmit, net/ipv6/sit.c), so a peer behind a router is looked for on the link.
"""

from collections.abc import Iterator

from steppe.fabric import overlay
from steppe.fabric.overlay import TTL, Ends
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.net.address import IPNetwork
from steppe.settings import Settings
from steppe.state.device import Ip6Tunnel, Ipip
from steppe.state.link import Link
from steppe.state.node import NodeClaim
from steppe.state.route import Encap, Hop

DEVICES = {4: "steppe-ipip", 6: "steppe-ipip6"}
_OUTER = {4: 20, 6: 40}

summary = "the smallest tunnels, IP in IP, where routers pass protocols 4 and 41"
links = tuple(DEVICES.values())
options: tuple[Option, ...] = ()
needs = (
    Need("ipip", "fabric ipip over IPv4", ("external",), "ipip"),
    Need("ip6tnl", "fabric ipip over IPv6", ("external",), "ip6_tunnel"),
)


def carries(here: Node, peer: Node) -> bool:
    """Whether there is a tunnel for each family of the peer's pods."""
    return bool(peer.addresses) and all(
        _ends(here, peer, prefix.version) is not None for prefix in peer.prefixes
    )


def _ends(here: Node, peer: Node, version: int) -> Ends | None:
    """The ends of the tunnel for pods' packets of this family."""
    own = overlay.ends(here, peer, version)
    if own is not None or version == 6 or here.address(4) is not None:
        return own
    return overlay.ends(here, peer, 6)


def devices(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """A device for each family of the node's addresses, and the rules for what local pods send."""
    del settings
    if overlay.tunnel_address(here) is None:
        yield overlay.no_end(here)
        return
    for version, kind in ((4, Ipip()), (6, Ip6Tunnel())):
        if here.address(version) is not None:
            link = Link(kind, here.underlay.mtu - _OUTER[version], "")
            yield from overlay.device(here, DEVICES[version], link)
    yield from overlay.rules(here)


def towards(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The routes to one peer's pods, and to the peer's own addresses from local pods."""
    del settings
    if overlay.tunnel_address(here) is None:
        return  # devices() has said so already
    for prefix in peer.prefixes:
        version = prefix.version
        between = _ends(here, peer, version)
        if between is not None:
            yield from overlay.routes(here, peer, between, _hop, (version,))
            continue
        lacking = here if here.address(version) is None else peer
        yield Problem(
            Cause(lacking.ref, "status.addresses"),
            f"no tunnel from {here.name} to {peer.name} for {prefix}: {lacking.name} has no "
            f"IPv{version} address, and ipip carries each family in its own; give the node one, or "
            f"use another fabric",
        )


def _hop(between: Ends, prefix: IPNetwork) -> Hop:
    del prefix
    outer = Encap(between.remote, 0, TTL, between.local)
    return Hop(None, DEVICES[between.remote.version], encap=outer)


def tunnels(settings: Settings) -> tuple[Tunnel, ...]:
    """IPv4 inside on both devices, IPv6 inside on the second."""
    del settings
    return (
        *(Tunnel(name, protocol="ipencap") for name in links),
        Tunnel(DEVICES[6], protocol="ipv6"),
    )


def mtu(settings: Settings, here: Node) -> int:
    """The underlay's MTU minus the smaller outer header: for an IPv6 packet that is too large for
    its own tunnel, the node itself answers "packet too big".
    """
    del settings
    return here.underlay.mtu - overlay.outer_size(here)

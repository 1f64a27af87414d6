"""Where a tunnel link sends the encapsulated packet, by the link's kind (state/device.py)."""

from ipaddress import IPv4Address

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress
from steppe.state.link import Link
from steppe.state.route import Hop
from steppe.walk.trace import Tunnelled
from steppe.walk.view import NodeView


class Outer(msgspec.Struct, frozen=True):
    """The destination of the outer packet, and its causes."""

    what: Tunnelled
    because: tuple[Cause, ...] = ()


def wrapped(view: NodeView, link: Link, hop: Hop, destination: IPAddress) -> Outer | str:
    """The outer packet for this hop on a tunnel link, or the reason why there is none.

    `destination` is that of the packet inside.
    """
    if link.kind.wrapping == "route":
        return _named(view, link, hop)
    if link.kind.wrapping == "gateway":
        return _by_next_hop(hop, destination)
    if link.kind.wrapping == "forwarding" and hop.via is not None:
        return _forwarded(view, hop, hop.via)
    return f"{hop.link} leads to no other node"


def outer_source(link: Link, hop: Hop) -> IPAddress | None:
    """The outer packet's source; None where neither the route nor the link says it."""
    if hop.encap is not None and hop.encap.source is not None:
        return hop.encap.source
    return link.kind.source


def _named(view: NodeView, link: Link, hop: Hop) -> Outer | str:
    if hop.encap is None:
        return f"the route over {hop.link} names no tunnel end"
    end, number = hop.encap.destination, hop.encap.id or None
    if not link.kind.framed or hop.via is None:
        return Outer(Tunnelled(end, id=number, link=hop.link))
    neighbour = view.neighbour(hop.link, hop.via)
    if neighbour is None:
        return f"{hop.link} has no neighbour entry for {hop.via}"
    value, entry = neighbour
    return Outer(Tunnelled(end, hop.via, value, number, hop.link), entry.because)


def _by_next_hop(hop: Hop, destination: IPAddress) -> Outer | str:
    """Sit devices send IPv6 by IPv4-compatible next hops (ipip6_tunnel_xmit, net/ipv6/sit.c)."""
    end = hop.via if hop.via is not None else destination
    if end.version == 6:
        if int(end) >> 32:
            return f"{end} is no tunnel end of {hop.link}, which are such as ::192.0.2.1"
        end = IPv4Address(int(end))
    return Outer(Tunnelled(end, link=hop.link))


def _forwarded(view: NodeView, hop: Hop, via: IPAddress) -> Outer | str:
    neighbour = view.neighbour(hop.link, via)
    forwarding = view.forwarding(hop.link, neighbour[0].mac) if neighbour else None
    if neighbour is None or forwarding is None:
        return f"{hop.link} has no neighbour or forwarding entry for {via}"
    value, entry = forwarding
    because = dict.fromkeys((*neighbour[1].because, *entry.because))
    return Outer(Tunnelled(value.destination, via, neighbour[0], link=hop.link), tuple(because))

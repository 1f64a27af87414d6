"""Where a tunnel link sends the encapsulated packet, by the link's kind (state/device.py)."""

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


def wrapped(view: NodeView, link: Link, hop: Hop) -> Outer | str:
    """The outer packet for this hop on a tunnel link, or the reason why there is none."""
    if link.kind.wrapping == "route":
        return _named(view, link, hop)
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


def _forwarded(view: NodeView, hop: Hop, via: IPAddress) -> Outer | str:
    neighbour = view.neighbour(hop.link, via)
    forwarding = view.forwarding(hop.link, neighbour[0].mac) if neighbour else None
    if neighbour is None or forwarding is None:
        return f"{hop.link} has no neighbour or forwarding entry for {via}"
    value, entry = forwarding
    because = dict.fromkeys((*neighbour[1].because, *entry.because))
    return Outer(Tunnelled(value.destination, via, neighbour[0], link=hop.link), tuple(because))

"""The steps of a path and their text. Programs use the values; the text is never parsed."""

from typing import Literal

import msgspec

from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.walk.trace import (
    Applied,
    Crossed,
    Delivered,
    Masqueraded,
    Met,
    Own,
    Redirected,
    Restored,
    Routed,
    Tunnelled,
)
from steppe.walk.trace import What as Walked


class Sent(msgspec.Struct, frozen=True):
    """The sender, and its link if the path goes through tables."""

    sender: str
    packet: Packet
    link: str = ""


class CameIn(msgspec.Struct, frozen=True):
    """A packet from outside the cluster."""

    packet: Packet


class Balanced(msgspec.Struct, frozen=True):
    """A Service's address was translated to one endpoint's, out of `choices`."""

    dialled: Packet
    endpoint: Packet
    choices: int


class Stopped(msgspec.Struct, frozen=True):
    """The packet stops, for this reason."""

    reason: str


class Hidden(msgspec.Struct, frozen=True):
    """The sender's address was replaced: the receiver sees `after`."""

    before: IPAddress
    after: IPAddress


class Carried(msgspec.Struct, frozen=True):
    """The network delivers the packet to the owner of this address (Kubernetes network model)."""

    kind: Literal["pod", "node", "outside"]
    to: str
    address: IPAddress


class Answered(msgspec.Struct, frozen=True):
    """Replies come from the address to which the request was sent."""

    dialled: IPAddress
    sender: IPAddress


class Unasked(msgspec.Struct, frozen=True):
    """Policies do not apply to replies."""


Promised = Sent | CameIn | Balanced | Stopped | Hidden | Carried | Answered | Unasked
What = Walked | Promised
"""Everything that can happen to a packet: in tables, or as the oracle says."""


def step_text(what: What) -> str:
    """The text of a step, one line."""
    match what:
        case Met(key, value):
            text = f"{key} {value}"
        case Redirected(key, value):
            text = f"dnat {key} {value}"
        case Applied(rule):
            text = str(rule)
        case Restored(before, after):
            text = f"{_ends(before)} becomes {_ends(after)} again"
        case Masqueraded(before, after):
            text = f"masquerade: {before} becomes {after}"
        case Own(address):
            text = f"{address} is the node's own"
        case Routed(key, route):
            text = f"{key} {route}"
        case Crossed(address, peer):
            text = f"{address} is {peer}'s address" if peer else f"{address} is outside the cluster"
        case Tunnelled(destination, via, neighbour, number) if neighbour is not None:
            text = f"{via} {neighbour}, tunnelled to {destination}"
            text += f" with id {number}" if number else ""
        case Tunnelled(destination, id=number):
            text = f"tunnelled to {destination}" + (f" with id {number}" if number else "")
        case Delivered(address, neighbour, link, pod):
            text = f"{address} {neighbour} dev {link} is {pod}"
        case _:
            text = _promised(what)
    return text


def _promised(what: Promised) -> str:
    match what:
        case Sent(sender, packet, link):
            text = f"{sender} sends {packet}" + (f" by {link}" if link else "")
        case CameIn(packet):
            text = f"{packet} comes in from outside"
        case Balanced():
            text = _balanced(what)
        case Stopped(reason):
            text = reason
        case Hidden(before, after):
            text = f"the sender's address {before} becomes {after}"
        case Carried("outside", _, address):
            text = f"{address} is outside: it leaves with its node's address"
        case Carried("node", to):
            text = f"the network takes it to {to}"
        case Carried(_, to, address):
            text = f"the network takes it to {to} at {address}"
        case Answered(dialled, sender):
            text = f"replies come from {dialled} again, as {sender} expects"
        case Unasked():
            text = "replies belong to their connection: no policy is asked about them"
    return text


def _balanced(done: Balanced) -> str:
    which = f" (one of {done.choices} endpoints, alike likely)" if done.choices > 1 else ""
    dialled = f"{done.dialled.destination} {done.dialled.destination_port}"
    endpoint = f"{done.endpoint.destination} {done.endpoint.destination_port}"
    return f"{dialled} becomes {endpoint}{which}"


def _ends(packet: Packet) -> str:
    """Both ends of a packet, with their ports."""
    if packet.protocol == "ICMP":
        return f"{packet.source} > {packet.destination}"
    return f"{packet.source} {packet.source_port} > {packet.destination} {packet.destination_port}"

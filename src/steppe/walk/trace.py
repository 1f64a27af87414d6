"""What a walk answers: where the packet ends, and every step on the way with its causes.

Steps are values. Words for them are made last, by whoever shows them (explain/steps.py).
"""

from enum import StrEnum
from fractions import Fraction
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.state.link import Neighbour
from steppe.state.nft import ElementKey, Rule
from steppe.state.node import Value
from steppe.state.route import Route, RouteKey


class Stage(StrEnum):
    """Where on a packet's way something happens to it.

    The tables know those of the first group. The second group belongs to the ends of a path, and
    to paths of which only what the API promises is known.
    """

    CONNTRACK = "conntrack"
    SERVICE = "service"
    POLICY = "policy"
    LOCAL = "local"
    ROUTE = "route"
    POSTROUTING = "postrouting"
    UNDERLAY = "underlay"
    TUNNEL = "tunnel"
    DELIVER = "deliver"

    SEND = "send"
    MASQUERADE = "masquerade"
    REPLY = "reply"
    DENIED = "denied"
    REFUSED = "refused"
    DROPPED = "dropped"


class Met(msgspec.Struct, frozen=True):
    """An element of a set or map that a rule looked up."""

    key: ElementKey
    value: Value


class Redirected(msgspec.Struct, frozen=True):
    """The element that gave the packet its new destination."""

    key: ElementKey
    value: Value


class Applied(msgspec.Struct, frozen=True):
    """A rule that decided, or that matched an element."""

    rule: Rule


class Restored(msgspec.Struct, frozen=True):
    """A reply that gets back the addresses that its request was sent to."""

    before: Packet
    after: Packet


class Masqueraded(msgspec.Struct, frozen=True):
    """The sender's address, and the node's that takes its place."""

    before: IPAddress
    after: IPAddress


class Own(msgspec.Struct, frozen=True):
    """The packet is for the node itself."""

    address: IPAddress


class Routed(msgspec.Struct, frozen=True):
    """The route that was taken."""

    key: RouteKey
    route: Route


class Crossed(msgspec.Struct, frozen=True):
    """The underlay takes the packet on: to a node's address, or out of the cluster (peer "")."""

    address: IPAddress
    peer: str = ""


class Tunnelled(msgspec.Struct, frozen=True):
    """Where the outer packet goes, by which link.

    A forwarding entry told it, for the neighbour entry of `via`; or the route's own encapsulation,
    with its tunnel `id`.
    """

    destination: IPAddress
    via: IPAddress | None = None
    neighbour: Neighbour | None = None
    id: int | None = None
    link: str = ""


class Delivered(msgspec.Struct, frozen=True):
    """The neighbour entry on a pod's link, and the pod, as `namespace/name`."""

    address: IPAddress
    neighbour: Neighbour
    link: str
    pod: str


What = (
    Met
    | Redirected
    | Applied
    | Restored
    | Masqueraded
    | Own
    | Routed
    | Crossed
    | Tunnelled
    | Delivered
)
"""All that a table, or what lies between nodes, can do to a packet."""


class Step(msgspec.Struct, frozen=True):
    """One table's say: on which node, what it held, and the objects that put it there."""

    node: str
    stage: Stage
    what: What
    because: tuple[Cause, ...] = ()


EndKind = Literal["pod", "node", "outside", "dropped", "refused"]


class End(msgspec.Struct, frozen=True):
    """Where a packet ends. `source` is what the receiver sees as the sender's address.

    `target` is `namespace/pod`, a node's name, or "" for outside and where the packet does not
    arrive, of which `reason` says why.
    """

    kind: EndKind
    target: str = ""
    source: IPAddress | None = None
    reason: str = ""


class Translation(msgspec.Struct, frozen=True):
    """An address that a node rewrote: conntrack there undoes it in the replies."""

    node: str
    before: Packet
    after: Packet
    because: tuple[Cause, ...] = ()


class Trace(msgspec.Struct, frozen=True):
    """One path that a packet may take; `share` is how likely it takes this one.

    `packet` is what it looked like in the end, after all that was `translated` on the way.
    """

    steps: tuple[Step, ...]
    end: End
    packet: Packet
    share: Fraction = Fraction(1)
    translated: tuple[Translation, ...] = ()

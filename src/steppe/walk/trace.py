"""The result of a walk: where the packet ends, and every step to there with its causes.

Steps are values. Their text is made last, in explain/steps.py.
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
    """The stage of a packet's path at which a step happens.

    Steps through tables have the stages of the first group. Those of the second group are for the
    ends of a path, and for paths that are known only from the oracle.
    """

    SOURCE = "source"
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
    """A rule that gave the verdict, or that matched an element."""

    rule: Rule


class Restored(msgspec.Struct, frozen=True):
    """Conntrack restored in a reply the addresses to which the request was sent."""

    before: Packet
    after: Packet


class Masqueraded(msgspec.Struct, frozen=True):
    """The source address, and the node's address that replaced it."""

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
    """The underlay forwards the packet: to a node's address, or out of the cluster (peer "")."""

    address: IPAddress
    peer: str = ""


class Tunnelled(msgspec.Struct, frozen=True):
    """Where the outer packet goes, by which link.

    It comes from a forwarding entry, for the neighbour entry of `via`; or from the route's own
    encapsulation, with its tunnel `id`, if it has one.
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
"""Everything that a table, or the underlay between nodes, can do to a packet."""


class Step(msgspec.Struct, frozen=True):
    """One step at one table: on which node, what it did, and the objects behind the entry."""

    node: str
    stage: Stage
    what: What
    because: tuple[Cause, ...] = ()


EndKind = Literal["pod", "node", "outside", "dropped", "refused"]


class End(msgspec.Struct, frozen=True):
    """Where a packet ends. `source` is the sender's address as the receiver sees it.

    `target` is `namespace/pod`, a node's name, or "": outside, or the packet does not arrive, and
    `reason` says why.
    """

    kind: EndKind
    target: str = ""
    source: IPAddress | None = None
    reason: str = ""


class Translation(msgspec.Struct, frozen=True):
    """An address that a node translated; its conntrack reverses this in replies."""

    node: str
    before: Packet
    after: Packet
    because: tuple[Cause, ...] = ()


class Trace(msgspec.Struct, frozen=True):
    """One path that a packet may take; `share` is its probability.

    `packet` is the packet at the end, after the translations in `translated`.
    """

    steps: tuple[Step, ...]
    end: End
    packet: Packet
    share: Fraction = Fraction(1)
    translated: tuple[Translation, ...] = ()

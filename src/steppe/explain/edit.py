"""An edit of one object that may allow a flow at one end, and how much else it allows.

explain/remedy.py tries whether it really opens the flow.
"""

from collections.abc import Callable
from enum import IntEnum

import msgspec

from steppe.explain.model import Patch
from steppe.explain.new_peer import Json
from steppe.explain.sentences import traffic
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod
from steppe.kube.policies import AnyTraffic, Direction, Port
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.net.ports import PortRange
from steppe.oracle.policy import Decision


class Breadth(IntEnum):
    """How much an edit allows: just the flow, more within its rule, or far more."""

    ASKED = 0
    RULE = 1
    WIDE = 2


class Edit(msgspec.Struct, frozen=True):
    """A change that may help: as text, as patches, and as a function from cluster to cluster."""

    text: str
    object: Cause
    patches: tuple[Patch, ...]
    breadth: Breadth
    apply: Callable[[Cluster], Cluster]


class DeniedEnd(msgspec.Struct, frozen=True):
    """One end of a flow at which the policies of a pod deny the other end."""

    direction: Direction
    pod: Pod
    packet: Packet
    decision: Decision

    @property
    def peer(self) -> IPAddress:
        return self.packet.source if self.direction == "ingress" else self.packet.destination

    @property
    def side(self) -> str:
        """The field in which a rule lists its peers."""
        return "from" if self.direction == "ingress" else "to"

    @property
    def field(self) -> str:
        return f"spec.{self.direction}"

    @property
    def port(self) -> Port:
        """The narrowest port of a rule that matches the packet; for ICMP this is all traffic."""
        if self.packet.protocol == "ICMP":
            return AnyTraffic()
        number = self.packet.destination_port
        return PortRange(self.packet.protocol, number, number)

    @property
    def on(self) -> str:
        return "" if self.packet.protocol == "ICMP" else f", on {traffic(self.packet)}"


def port_json(packet: Packet) -> Json:
    """A port of a NetworkPolicy."""
    return {"protocol": packet.protocol, "port": packet.destination_port}


def pointer(field: str) -> str:
    """A field as a JSON pointer (RFC 6901): `spec.ingress[0]` is `/spec/ingress/0`."""
    return "/" + field.replace("[", "/").replace("]", "").replace(".", "/")


def escaped(key: str) -> str:
    """A key inside a pointer: '~' needs to be encoded as '~0' and '/' … as '~1' (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")

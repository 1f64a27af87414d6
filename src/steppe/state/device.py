"""The kinds of link that Steppe makes, each with the settings that only this kind has.

A new kind is a class here, a line in KINDS, and a codec of its own in drivers/netlink/kinds. Code
that handles links of every kind uses the properties of Kind and does not test for one class.
"""

from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress

Wrapping = Literal["none", "forwarding", "route"]
"""Where a link finds the outer destination address when it encapsulates a packet.

`none`: it does not encapsulate. `forwarding`: in its forwarding entries (`bridge fdb`), under the
MAC address of the next hop. `route`: in the route's own encapsulation (ip-route(8), ENCAPTYPE).
"""


class Kind(msgspec.Struct, frozen=True):
    """What every kind of link has; `name` is the kernel's (`ip link … type NAME`).

    `made_by_attaching`: its other end is inside a pod's namespace, so it is made by a CNI ADD and
    not from the node's tables.
    """

    name: ClassVar[str]
    made_by_attaching: ClassVar[bool] = False

    @property
    def wrapping(self) -> Wrapping:
        return "none"

    @property
    def lower(self) -> str:
        """The name of the link that carries this link's packets; "" if there is none."""
        return ""

    @property
    def outer(self) -> tuple[IPAddress, int] | None:
        """Of a link that encapsulates in UDP: the outer source address, and the port sent to."""
        return None

    def __str__(self) -> str:
        return ""


class Veth(Kind, frozen=True):
    """One end of a pair; the other is inside a pod."""

    name: ClassVar[str] = "veth"
    made_by_attaching: ClassVar[bool] = True


class Vxlan(Kind, frozen=True):
    """A VXLAN device's own settings (RFC 7348); `local` is the outer source address.

    Learning is always off: every forwarding entry is a table entry with a cause. An `external`
    device has no VNI of its own: each route has the VNI and the tunnel end (Encap).
    """

    name: ClassVar[str] = "vxlan"

    vni: int
    port: int
    local: IPAddress
    underlay: str
    external: bool = False

    @property
    def wrapping(self) -> Wrapping:
        return "route" if self.external else "forwarding"

    @property
    def lower(self) -> str:
        return self.underlay

    @property
    def outer(self) -> tuple[IPAddress, int]:
        return self.local, self.port

    def __str__(self) -> str:
        number = "external" if self.external else f"id {self.vni}"
        return f"{number} local {self.local} dev {self.underlay} dstport {self.port}"


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Veth, Vxlan)}
"""Kinds by the kernel's name; a test may add its own."""

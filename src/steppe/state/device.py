"""The kinds of link that Steppe makes, each with the settings that only it has.

A new kind is a class here, a line in KINDS, and a codec of its own in drivers/netlink/kinds.
Whoever meets a link asks its kind how it wraps packets, never which kind it is.
"""

from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress

Wrapping = Literal["none", "forwarding", "route"]
"""Where a link finds the outer destination of a packet that it wraps into another.

`none`: it wraps nothing. `forwarding`: under the MAC address of the next hop, in its forwarding
entries (`bridge fdb`). `route`: in the route's own encapsulation (ip-route(8), ENCAPTYPE).
"""


class Kind(msgspec.Struct, frozen=True):
    """What every kind of link says of itself; `name` is the kernel's (`ip link … type NAME`).

    `made_by_attaching`: its other end lies inside a pod, so tables alone cannot make it.
    """

    name: ClassVar[str]
    made_by_attaching: ClassVar[bool] = False

    @property
    def wrapping(self) -> Wrapping:
        return "none"

    @property
    def lower(self) -> str:
        """The link that carries this one's packets; "" for none."""
        return ""

    def __str__(self) -> str:
        return ""


class Veth(Kind, frozen=True):
    """One end of a pair; the other is inside a pod."""

    name: ClassVar[str] = "veth"
    made_by_attaching: ClassVar[bool] = True


class Vxlan(Kind, frozen=True):
    """A VXLAN device's own settings (RFC 7348); `local` is the outer source address.

    Learning is always off: every forwarding entry is a table entry with a cause. An `external`
    device has no number of its own: the route of each packet says number and tunnel end.
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

    def __str__(self) -> str:
        number = "external" if self.external else f"id {self.vni}"
        return f"{number} local {self.local} dev {self.underlay} dstport {self.port}"


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Veth, Vxlan)}
"""By the kernel's name; a test may add its own."""

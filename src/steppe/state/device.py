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


class Carrier(msgspec.Struct, frozen=True):
    """What the outer header of a tunnel's packets says of its contents.

    `protocol`: the IP protocol, in nft's words (`meta l4proto`); `port`: that of UDP, else 0.
    """

    protocol: str
    port: int = 0


class Kind(msgspec.Struct, frozen=True):
    """What every kind of link has; `name` is the kernel's (`ip link … type NAME`).

    `made_by_attaching`: its other end is inside a pod's namespace, so it is made by a CNI ADD and
    not from the node's tables. `framed`: its packets have an Ethernet header, and the link a MAC
    address; of other links the tables say none.
    """

    name: ClassVar[str]
    made_by_attaching: ClassVar[bool] = False
    framed: ClassVar[bool] = True

    @property
    def wrapping(self) -> Wrapping:
        return "none"

    @property
    def lower(self) -> str:
        """The name of the link that carries this link's packets; "" if there is none."""
        return ""

    @property
    def source(self) -> IPAddress | None:
        """The outer source address; None if the link has none of its own."""
        return None

    def carrier(self, version: int) -> Carrier | None:
        """How inner packets of this IP version are carried; None if they are not encapsulated."""
        del version
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
    def source(self) -> IPAddress:
        return self.local

    def carrier(self, version: int) -> Carrier:
        del version
        return Carrier("udp", self.port)

    def __str__(self) -> str:
        number = "external" if self.external else f"id {self.vni}"
        return f"{number} local {self.local} dev {self.underlay} dstport {self.port}"


class External(Kind, frozen=True):
    """A tunnel device without settings of its own: each route has the outer header (Encap)."""

    @property
    def wrapping(self) -> Wrapping:
        return "route"

    def __str__(self) -> str:
        return "external"


class Geneve(External, frozen=True):
    """A GENEVE device (RFC 8926): Ethernet frames in UDP, over IPv4 or IPv6."""

    name: ClassVar[str] = "geneve"

    port: int

    def carrier(self, version: int) -> Carrier:
        del version
        return Carrier("udp", self.port)

    def __str__(self) -> str:
        return f"external dstport {self.port}"


class Gre(External, frozen=True):
    """A GRE device over IPv4 (RFC 2784), for packets of both families, without a key."""

    name: ClassVar[str] = "gre"
    framed: ClassVar[bool] = False

    def carrier(self, version: int) -> Carrier:
        del version
        return Carrier("gre")


class Gre6(Gre, frozen=True):
    """The same over IPv6 (RFC 7676)."""

    name: ClassVar[str] = "ip6gre"


_OF_VERSION = {4: Carrier("ipencap"), 6: Carrier("ipv6")}
"""Protocols 4 and 41: an IP packet inside an IP packet."""


class Ipip(External, frozen=True):
    """IPv4 inside IPv4, without any header between (RFC 2003)."""

    name: ClassVar[str] = "ipip"
    framed: ClassVar[bool] = False

    def carrier(self, version: int) -> Carrier | None:
        return _OF_VERSION[version] if version == 4 else None


class Ip6Tunnel(External, frozen=True):
    """IPv4 and IPv6 inside IPv6, without any header between (RFC 2473)."""

    name: ClassVar[str] = "ip6tnl"
    framed: ClassVar[bool] = False

    def carrier(self, version: int) -> Carrier:
        return _OF_VERSION[version]


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Veth, Vxlan, Geneve, Gre, Gre6, Ipip, Ip6Tunnel)
}
"""Kinds by the kernel's name; a test may add its own."""

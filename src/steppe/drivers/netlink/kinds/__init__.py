"""How each kind of link is written to the kernel and read back: one module each, one line here.

It knows bytes and the kinds of state/device.py; what all links have is in netlink/link.py.
"""

from collections.abc import Mapping
from typing import Protocol

from steppe.drivers.netlink.kinds import external, geneve, veth, vxlan
from steppe.state.device import Kind


class Codec(Protocol):
    """One kind's attributes inside IFLA_INFO_DATA (`linkinfo` of `ip -d -j link`)."""

    def encoded(self, kind: Kind, lower: int) -> bytes:
        """The attributes of a link to be made; `lower` is the index of the link below it, or 0."""
        ...

    def decoded(self, data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
        """The kind with its settings; None for a link that is none of ours."""
        ...


CODECS: dict[str, Codec] = {
    "veth": veth,
    "vxlan": vxlan,
    "geneve": geneve,
    "gre": external.gre,
    "ip6gre": external.ip6gre,
    "ipip": external.ipip,
    "ip6tnl": external.ip6tnl,
}
"""By the kernel's name of the kind."""

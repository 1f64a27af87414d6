"""Devices whose only setting is external mode: `gre`, `ip6gre` (IFLA_GRE_*), `ipip`, `ip6tnl`
(IFLA_IPTUN_* in linux/if_tunnel.h).
"""

from collections.abc import Mapping

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.state.device import Gre, Gre6, Ip6Tunnel, Ipip, Kind


class External(msgspec.Struct, frozen=True):
    """The codec of one such kind; `number` is the flag's: …_COLLECT_METADATA."""

    kind: Kind
    number: int

    def encoded(self, kind: Kind, lower: int) -> bytes:
        if kind != self.kind:
            raise TypeError(f"not a {self.kind.name} device: {kind!r}")
        del lower
        return nl.attribute(self.number, b"")

    def decoded(self, data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
        """None for a device that has an end of its own."""
        del names
        return self.kind if self.number in data else None


gre = External(Gre(), 18)
ip6gre = External(Gre6(), 18)
ipip = External(Ipip(), 19)
ip6tnl = External(Ip6Tunnel(), 19)

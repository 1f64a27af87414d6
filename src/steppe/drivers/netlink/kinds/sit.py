"""Sit devices of `mode any` without a remote end (`ip link add … type sit`; IFLA_IPTUN_*)."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from steppe.drivers.netlink import message as nl
from steppe.state.device import Kind, Sit

_LOCAL = 2
_REMOTE = 3
_TTL = 4
_PROTOCOL = 9
"""Of what is carried: 4, 41, or 0 for both (`mode ipip`, `ip6ip`, `any`)."""


def encoded(kind: Kind, lower: int) -> bytes:
    if not isinstance(kind, Sit):
        raise TypeError(f"not a sit device: {kind!r}")
    del lower
    return b"".join(
        (
            nl.attribute(_LOCAL, kind.local.packed),
            nl.u8(_TTL, kind.ttl),
            nl.u8(_PROTOCOL, 0),
        )
    )


def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
    """None for a device that is not ours: with a remote end, or for one family only."""
    del names
    local = IPv4Address(data.get(_LOCAL, bytes(4)))
    if any(data.get(_REMOTE, b"")) or any(data.get(_PROTOCOL, b"")) or not int(local):
        return None
    return Sit(local, nl.number(data.get(_TTL, b"")))

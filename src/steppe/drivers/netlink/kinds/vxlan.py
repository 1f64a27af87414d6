"""VXLAN devices that learn nothing (`ip link add … type vxlan`; IFLA_VXLAN_* in if_link.h)."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from steppe.drivers.netlink import message as nl
from steppe.state.device import Kind, Vxlan

_ID = 1
_LINK = 3
_LOCAL = 4
_LEARNING = 7
_PORT = 15
_LOCAL6 = 17
_UDP_CSUM = 18
_COLLECT_METADATA = 25


def encoded(kind: Kind, lower: int) -> bytes:
    if not isinstance(kind, Vxlan):
        raise TypeError(f"not a vxlan device: {kind!r}")
    data = [nl.u8(_COLLECT_METADATA, 1)] if kind.external else [nl.u32(_ID, kind.vni)]
    data += [
        nl.u32(_LINK, lower),
        nl.u8(_LEARNING, 0),
        nl.attribute(_PORT, kind.port.to_bytes(2, "big")),
    ]
    if kind.local.version == 4:
        # RFC 7348, section 5: the outer UDP checksum "SHOULD be transmitted as zero"; over IPv6
        # (RFC 6935) the kernel's default, a real one, stays.
        data += [nl.attribute(_LOCAL, kind.local.packed), nl.u8(_UDP_CSUM, 0)]
    else:
        data += [nl.attribute(_LOCAL6, kind.local.packed)]
    return b"".join(data)


def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
    """None for a device that is not ours: without a local address."""
    local: IPv4Address | IPv6Address
    if _LOCAL in data:
        local = IPv4Address(data[_LOCAL])
    elif _LOCAL6 in data:
        local = IPv6Address(data[_LOCAL6])
    else:
        return None
    return Vxlan(
        vni=nl.number(data.get(_ID, b"")),
        port=int.from_bytes(data.get(_PORT, b""), "big"),
        local=local,
        underlay=names.get(nl.number(data.get(_LINK, b"")), ""),
        external=any(data.get(_COLLECT_METADATA, b"")),
    )

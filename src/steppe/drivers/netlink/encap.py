"""The outer header that a route names (`encap ip …`, ip-route(8); linux/lwtunnel.h)."""

from collections.abc import Mapping

from steppe.drivers.netlink import message as nl
from steppe.net.address import IPAddress, address_of
from steppe.state.route import Encap

RTA_ENCAP_TYPE = 21
RTA_ENCAP = 22
_IP = 2
_IP6 = 4
_ID = 1
_DESTINATION = 2
_SOURCE = 3
_TTL = 4
_FLAGS = 6
"""The numbers of LWTUNNEL_IP_* and LWTUNNEL_IP6_* are the same; there the TTL is the hop limit."""
_CHECKSUM = 1
"""TUNNEL_CSUM in linux/if_tunnel.h, in network order."""


def written(encap: Encap) -> bytes:
    """Type and header as two attributes of a route or of one of its hops."""
    kind = _IP if encap.destination.version == 4 else _IP6
    parts = [
        nl.attribute(_ID, encap.id.to_bytes(8, "big")),
        nl.attribute(_DESTINATION, encap.destination.packed),
    ]
    if encap.source is not None:
        parts.append(nl.attribute(_SOURCE, encap.source.packed))
    if encap.ttl:
        parts.append(nl.u8(_TTL, encap.ttl))
    if encap.checksum:
        parts.append(nl.attribute(_FLAGS, _CHECKSUM.to_bytes(2, "big")))
    header = nl.nested(RTA_ENCAP, *parts)
    return nl.u16(RTA_ENCAP_TYPE, kind) + header


def read(found: Mapping[int, bytes]) -> Encap | None:
    """The header among a hop's attributes; None for none, or for one of another kind."""
    kind = nl.number(found.get(RTA_ENCAP_TYPE, b""))
    if kind not in (_IP, _IP6):
        return None
    inside = nl.attributes(found.get(RTA_ENCAP, b""))
    destination = _address(inside.get(_DESTINATION, b""))
    if destination is None:
        return None
    source = _address(inside.get(_SOURCE, b""))
    return Encap(
        destination,
        id=int.from_bytes(inside.get(_ID, b""), "big"),
        ttl=nl.number(inside.get(_TTL, b"")),
        source=source if source is not None and int(source) else None,
        checksum=bool(int.from_bytes(inside.get(_FLAGS, b""), "big") & _CHECKSUM),
    )


def _address(packed: bytes) -> IPAddress | None:
    if len(packed) not in (4, 16):
        return None
    return address_of(packed)

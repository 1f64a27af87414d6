"""The outer header that a route names (`encap ip …`, ip-route(8); linux/lwtunnel.h)."""

from collections.abc import Mapping

from steppe.drivers.netlink import message as nl
from steppe.net.address import address_of
from steppe.state.route import Encap

RTA_ENCAP_TYPE = 21
RTA_ENCAP = 22
_IP = 2
_IP6 = 4
_ID = 1
_DESTINATION = 2
_TTL = 4
"""The hop limit in IPv6; the numbers of LWTUNNEL_IP_* and LWTUNNEL_IP6_* are the same."""


def written(encap: Encap) -> bytes:
    """Type and header as two attributes of a route or of one of its hops."""
    kind = _IP if encap.destination.version == 4 else _IP6
    parts = [
        nl.attribute(_ID, encap.id.to_bytes(8, "big")),
        nl.attribute(_DESTINATION, encap.destination.packed),
    ]
    if encap.ttl:
        parts.append(nl.u8(_TTL, encap.ttl))
    header = nl.nested(RTA_ENCAP, *parts)
    return nl.u16(RTA_ENCAP_TYPE, kind) + header


def read(found: Mapping[int, bytes]) -> Encap | None:
    """The header among a hop's attributes; None for none, or for one of another kind."""
    kind = nl.number(found.get(RTA_ENCAP_TYPE, b""))
    if kind not in (_IP, _IP6):
        return None
    inside = nl.attributes(found.get(RTA_ENCAP, b""))
    packed = inside.get(_DESTINATION, b"")
    if len(packed) not in (4, 16):
        return None
    destination = address_of(packed)
    number = int.from_bytes(inside.get(_ID, b""), "big")
    return Encap(destination, number, nl.number(inside.get(_TTL, b"")))

"""Nexthop objects (`ip nexthop`, ip-nexthop(8); linux/nexthop.h): a next hop that routes share.

Only the form that drivers/nexthops.py uses: one gateway on one link.
"""

import struct

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import IPAddress, address_of
from steppe.state.route import PROTOCOL

RTM_NEWNEXTHOP = 104
RTM_DELNEXTHOP = 105
RTM_GETNEXTHOP = 106

_NHMSG = struct.Struct("=BBBBI")
_NHA_ID = 1
_NHA_OIF = 5
_NHA_GATEWAY = 6
_RTNH_F_ONLINK = 4
_AF_INET = 2
_AF_INET6 = 10


class NexthopInfo(msgspec.Struct, frozen=True):
    """An object: its id, who made it, and the hop; `via` is None for groups and other forms."""

    id: int
    protocol: int
    index: int
    via: IPAddress | None
    onlink: bool


def list_nexthops() -> Request:
    return Request(RTM_GETNEXTHOP, _NHMSG.pack(0, 0, 0, 0, 0))


def get_nexthop(number: int) -> Request:
    return Request(RTM_GETNEXTHOP, _NHMSG.pack(0, 0, 0, 0, 0) + nl.u32(_NHA_ID, number))


def add_nexthop(number: int, via: IPAddress, index: int, *, onlink: bool) -> Request:
    """Add an object; refused if an object with this id exists."""
    family = _AF_INET if via.version == 4 else _AF_INET6
    body = (
        _NHMSG.pack(family, 0, PROTOCOL, 0, _RTNH_F_ONLINK if onlink else 0)
        + nl.u32(_NHA_ID, number)
        + nl.u32(_NHA_OIF, index)
        + nl.attribute(_NHA_GATEWAY, via.packed)
    )
    return Request(RTM_NEWNEXTHOP, body, nl.NLM_F_CREATE | nl.NLM_F_EXCL)


def delete_nexthop(number: int) -> Request:
    """Delete it, and with it every route that uses it (remove_nexthop in net/ipv4/nexthop.c)."""
    return Request(RTM_DELNEXTHOP, _NHMSG.pack(0, 0, 0, 0, 0) + nl.u32(_NHA_ID, number))


def read_nexthop(message: Message) -> NexthopInfo:
    """The object of a RTM_NEWNEXTHOP or RTM_DELNEXTHOP."""
    _, _, protocol, _, flags = _NHMSG.unpack_from(message.body)
    found = nl.attributes(message.body, _NHMSG.size)
    via = address_of(found[_NHA_GATEWAY]) if _NHA_GATEWAY in found else None
    return NexthopInfo(
        id=nl.number(found.get(_NHA_ID, b"")),
        protocol=protocol,
        index=nl.number(found.get(_NHA_OIF, b"")),
        via=via,
        onlink=bool(flags & _RTNH_F_ONLINK),
    )


def takes_routes(message: Message) -> bool:
    """Whether the message means that routes were deleted or changed with an object: the kernel
    sends no events for those routes.
    """
    replaced = message.kind == RTM_NEWNEXTHOP and message.flags & nl.NLM_F_REPLACE
    return bool(replaced) or message.kind == RTM_DELNEXTHOP

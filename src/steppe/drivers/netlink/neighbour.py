"""Neighbours and forwarding entries (`ip neighbour`, ip-neighbour(8); `bridge fdb`, bridge(8)).

The kernel carries both in the same messages: a forwarding entry has family AF_BRIDGE.
"""

import struct

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import IPAddress, address_of
from steppe.state.route import PROTOCOL

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

_NDMSG = struct.Struct("=BxHiHBB")
_NDA_DST = 1
_NDA_LLADDR = 2
_NDA_PROTOCOL = 12
_NUD_PERMANENT = 0x80
_NTF_SELF = 0x02
_NTF_PROXY = 0x08
_AF_INET = 2
_AF_INET6 = 10
_AF_BRIDGE = 7


class NeighbourInfo(msgspec.Struct, frozen=True):
    """An entry of either kind: `forwarding` says that it is one of a tunnel device's."""

    index: int
    forwarding: bool
    permanent: bool
    address: IPAddress | None
    mac: str


def _family(address: IPAddress) -> int:
    return _AF_INET if address.version == 4 else _AF_INET6


def list_neighbours(family: int) -> Request:
    return Request(RTM_GETNEIGH, _NDMSG.pack(family, 0, 0, 0, 0, 0))


def list_forwarding(index: int) -> Request:
    return Request(RTM_GETNEIGH, _NDMSG.pack(_AF_BRIDGE, 0, index, 0, 0, 0))


def set_neighbour(address: IPAddress, mac: str, index: int) -> Request:
    """Set a permanent entry; it replaces what the kernel has learned about this address."""
    body = (
        _NDMSG.pack(_family(address), 0, index, _NUD_PERMANENT, 0, 0)
        + nl.attribute(_NDA_DST, address.packed)
        + nl.attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        + nl.u8(_NDA_PROTOCOL, PROTOCOL)
    )
    return Request(RTM_NEWNEIGH, body, nl.NLM_F_CREATE | nl.NLM_F_REPLACE)


def delete_neighbour(address: IPAddress, index: int) -> Request:
    header = _NDMSG.pack(_family(address), 0, index, 0, 0, 0)
    return Request(RTM_DELNEIGH, header + nl.attribute(_NDA_DST, address.packed))


def set_forwarding(mac: str, destination: IPAddress, index: int) -> Request:
    """A MAC address's only tunnel end, in place of any other."""
    body = (
        _NDMSG.pack(_AF_BRIDGE, 0, index, _NUD_PERMANENT, _NTF_SELF, 0)
        + nl.attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        + nl.attribute(_NDA_DST, destination.packed)
    )
    return Request(RTM_NEWNEIGH, body, nl.NLM_F_CREATE | nl.NLM_F_REPLACE)


def delete_forwarding(mac: str, index: int) -> Request:
    """Every tunnel end of a MAC address."""
    header = _NDMSG.pack(_AF_BRIDGE, 0, index, 0, _NTF_SELF, 0)
    lladdr = nl.attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return Request(RTM_DELNEIGH, header + lladdr)


def read_neighbour(message: Message) -> NeighbourInfo | None:
    """The entry that a RTM_NEWNEIGH or RTM_DELNEIGH speaks of; None for proxy entries and such."""
    family, _, index, state, flags, _ = _NDMSG.unpack_from(message.body)
    if family not in (_AF_INET, _AF_INET6, _AF_BRIDGE) or flags & _NTF_PROXY:
        return None
    found = nl.attributes(message.body, _NDMSG.size)
    address = address_of(found[_NDA_DST]) if _NDA_DST in found else None
    return NeighbourInfo(
        index=index,
        forwarding=family == _AF_BRIDGE,
        permanent=bool(state & _NUD_PERMANENT),
        address=address,
        mac=found.get(_NDA_LLADDR, b"").hex(":"),
    )

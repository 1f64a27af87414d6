"""Addresses on links (`ip address`, ip-address(8))."""

import struct
from ipaddress import IPv4Interface, IPv6Interface

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import IPInterface

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22

_IFADDR = struct.Struct("=BBBBi")
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_RT_SCOPE_LINK = 253
AF_INET = 2
AF_INET6 = 10


def list_addresses(family: int = 0) -> Request:
    return Request(RTM_GETADDR, _IFADDR.pack(family, 0, 0, 0, 0))


def add_address(address: IPInterface, index: int) -> Request:
    """Usable at once: "the address is not probed" (IFA_F_NODAD) and never tentative."""
    body = _body(address, index) + nl.u32(_IFA_FLAGS, _IFA_F_NODAD)
    return Request(RTM_NEWADDR, body, nl.NLM_F_CREATE | nl.NLM_F_REPLACE)


def delete_address(address: IPInterface, index: int) -> Request:
    return Request(RTM_DELADDR, _body(address, index))


def _body(address: IPInterface, index: int) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    # A link-local address must never become the source of packets that leave the link; the
    # kernel works out IPv6 scopes by itself.
    scope = _RT_SCOPE_LINK if address.ip.is_link_local else 0
    header = _IFADDR.pack(family, address.network.prefixlen, 0, scope, index)
    packed = address.ip.packed
    return header + nl.attribute(_IFA_LOCAL, packed) + nl.attribute(_IFA_ADDRESS, packed)


def read_address(message: Message) -> tuple[int, IPInterface] | None:
    """The link's index and the address on it; None for a family that is not IP."""
    family, length, _, _, index = _IFADDR.unpack_from(message.body)
    found = nl.attributes(message.body, _IFADDR.size)
    # "IFA_ADDRESS is prefix address, rather than local interface address" (linux/if_addr.h):
    # they differ on point-to-point links, where IFA_LOCAL is our own end.
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or family not in (AF_INET, AF_INET6):
        return None
    if family == AF_INET:
        return index, IPv4Interface((packed, length))
    return index, IPv6Interface((packed, length))

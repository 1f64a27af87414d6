"""IPsec policies (`ip xfrm policy`, ip-xfrm(8)), by netlink; those of single sockets are left out.

xfrm_userpolicy_info { selector, lifetimes, priority, index, dir, action, … }   linux/xfrm.h
"""

import socket
import struct
from collections.abc import Iterator
from errno import EPROTONOSUPPORT
from typing import Literal

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.surroundings.look import Look
from steppe.net.address import IPNetwork, prefix_of
from steppe.net.packet import protocol_word
from steppe.state.surroundings import Ports, XfrmPolicy

_NETLINK_XFRM = 6
_GETPOLICY = 0x15
_SELECTOR = struct.Struct("=16s16s8sHBBB3xiI")
_REST = struct.Struct("=96xIIBBBB4x")
_ID = bytes(_SELECTOR.size + 8)
_PORTS = struct.Struct(">HHHH")
_TEMPLATES = 5
_DIRECTIONS: tuple[Literal["in", "out", "fwd"], ...] = ("in", "out", "fwd")
_BLOCK = 1


def read(look: Look) -> tuple[XfrmPolicy, ...]:
    """() where the kernel has no IPsec; NetlinkError or OSError where they cannot be read."""
    del look
    return tuple(_read())


def _read() -> Iterator[XfrmPolicy]:
    try:
        opened = NetlinkSocket(protocol=_NETLINK_XFRM)
    except OSError as error:
        if error.errno != EPROTONOSUPPORT:
            raise
        return
    with opened as table:
        for message in table.dump(Request(_GETPOLICY, _ID)):
            policy = _policy(message)
            if policy is not None:
                yield policy


def _policy(message: Message) -> XfrmPolicy | None:
    to, of, ports, family, to_length, of_length, protocol, _, _ = _SELECTOR.unpack_from(
        message.body
    )
    priority, _, direction, action, _, _ = _REST.unpack_from(message.body, _SELECTOR.size)
    if direction >= len(_DIRECTIONS):
        return None  # of one socket
    found = nl.attributes(message.body, _SELECTOR.size + _REST.size)
    protects = "protect" if found.get(_TEMPLATES) else "allow"
    return XfrmPolicy(
        source=_prefix(family, of, of_length),
        destination=_prefix(family, to, to_length),
        direction=_DIRECTIONS[direction],
        action="block" if action == _BLOCK else protects,  # type: ignore[arg-type]
        priority=priority,
        protocol=protocol_word(protocol),
        ports=_ports(ports),
    )


def _ports(packed: bytes) -> Ports | None:
    port, mask, _, _ = _PORTS.unpack(packed)
    return (port, port | ~mask & 0xFFFF) if mask else None


def _prefix(family: int, packed: bytes, length: int) -> IPNetwork:
    return prefix_of(packed if family == socket.AF_INET6 else packed[:4], length)

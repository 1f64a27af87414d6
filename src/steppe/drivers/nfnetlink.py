"""The common parts of netfilter's netlink messages (linux/netfilter/nfnetlink.h).

    type      subsystem << 8 | message of that subsystem
    body      nfgenmsg {family, version, res_id} | attributes

`res_id` is in network byte order: a log group, a subsystem for a batch, or 0.
"""

import struct

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message

NETLINK_NETFILTER = 12
"""The netlink protocol (linux/netlink.h)."""

CTNETLINK = 1
ULOG = 4
NFTABLES = 10
"""NFNL_SUBSYS_*."""

BATCH_BEGIN = 16
BATCH_END = 17
"""NFNL_MSG_BATCH_*: types of no subsystem."""

NFNLGRP_NFTABLES = 7
NFPROTO_INET = 1

_NFGENMSG = struct.Struct(">BBH")


def kind(subsystem: int, message: int) -> int:
    """The type of a message."""
    return subsystem << 8 | message


def subsystem_of(message: Message) -> int:
    """The subsystem that a message is of."""
    return message.kind >> 8


def header(family: int, res_id: int = 0) -> bytes:
    """The header before the attributes; the version is always 0."""
    return _NFGENMSG.pack(family, 0, res_id)


def family_of(message: Message) -> int:
    """The family that a message is about."""
    return message.body[0]


def attributes(message: Message) -> dict[int, bytes]:
    """The attributes of a message, behind its header."""
    return nl.attributes(message.body, _NFGENMSG.size)

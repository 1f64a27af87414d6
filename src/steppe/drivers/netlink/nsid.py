"""Numbers that a network namespace gives to its peers (ip-netns(8), `list-id`).

A veth end reports the number of the namespace that has its other end. So the namespace of a pod is
found among the named ones without entering them.
"""

import struct
import sys

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request

_RTM_GETNSID = 90
_NETNSA_NSID = 1
_NETNSA_FD = 3
_IFLA_LINK_NETNSID = 37
_RTGENMSG = struct.pack("=Bxxx", 0)
_IFINFO_SIZE = 16


def get_nsid(netns_fd: int) -> Request:
    return Request(_RTM_GETNSID, _RTGENMSG + nl.u32(_NETNSA_FD, netns_fd))


def read_nsid(message: Message) -> int | None:
    """The number in an answer to `get_nsid`; None for a namespace that has none here."""
    found = nl.attributes(message.body, len(_RTGENMSG)).get(_NETNSA_NSID)
    return _number(found)


def read_link_nsid(message: Message) -> int | None:
    """The number of the namespace where a link's other end is; None if it is this one."""
    return _number(nl.attributes(message.body, _IFINFO_SIZE).get(_IFLA_LINK_NETNSID))


def _number(payload: bytes | None) -> int | None:
    if payload is None:
        return None
    # NETNSA_NSID_NOT_ASSIGNED is -1 (linux/net_namespace.h).
    number = int.from_bytes(payload, sys.byteorder, signed=True)
    return number if number >= 0 else None

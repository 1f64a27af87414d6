"""Reads packets of a `log group` rule by nfnetlink_log.

    message   nfgenmsg {family, version, group} | NFULA_PREFIX | NFULA_PAYLOAD | …

Names are those of linux/netfilter/nfnetlink_log.h. A group has at most one listener in a namespace;
without one the kernel makes no copies. Not every packet is delivered: the kernel drops copies if
the listener is too slow, and the rule may have a limit.
"""

import socket
import struct
from errno import ENOBUFS
from ipaddress import IPv4Address, IPv6Address
from typing import Self

import msgspec

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.errors import kernel_error
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.net.address import IPAddress
from steppe.net.packet import PROTOCOLS

_PACKET = nfnl.kind(nfnl.ULOG, 0)
_CONFIG = nfnl.kind(nfnl.ULOG, 1)
_MODE = struct.Struct(">IBB")
_IPV4, _IPV6 = 20, 40
"""Bytes of a header without options or extensions."""

_NFULA_PAYLOAD = 9
_NFULA_PREFIX = 10
_NFULA_CFG_CMD = 1
_NFULA_CFG_MODE = 2
_NFULA_CFG_TIMEOUT = 4
_BIND = 1
_COPY_PACKET = 2

_HEADERS = 128
"""Bytes of each packet to copy: an IPv6 header, some extensions and the ports."""
_DELAY = 10
"""Hundredths of a second that the kernel may gather packets before it sends them."""
_AT_ONCE = 100
"""Datagrams taken at one go, so that a storm of packets does not hold up the event loop."""

_WITH_PORTS = (6, 17, 132)
"""TCP, UDP, SCTP."""
_EXTENSIONS = (0, 43, 60)
"""IPv6 extension headers that say how long they are: hop-by-hop, routing, destination options."""
_FRAGMENT = 44


class Sample(msgspec.Struct, frozen=True):
    """What the headers of one packet say; port 0 where the protocol has none, or it was cut off."""

    prefix: str
    source: IPAddress
    destination: IPAddress
    protocol: str
    port: int = 0


class Nflog:
    """The listener of one group in one network namespace; KernelError if it has one already."""

    def __init__(self, group: int, netns_fd: int | None = None) -> None:
        self._group = group
        self._socket = NetlinkSocket(netns_fd, nfnl.NETLINK_NETFILTER)
        try:
            self._socket.request(
                self._config(nl.u8(_NFULA_CFG_CMD, _BIND)),
                self._config(nl.attribute(_NFULA_CFG_MODE, _MODE.pack(_HEADERS, _COPY_PACKET, 0))),
                self._config(nl.attribute(_NFULA_CFG_TIMEOUT, _DELAY.to_bytes(4, "big"))),
            )
        except NetlinkError as error:
            self.close()
            raise kernel_error(f"listen to log group {group}", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def drain(self) -> tuple[Sample, ...]:
        """What has been logged since the last call; never waits."""
        found: list[Sample] = []
        for _ in range(_AT_ONCE):
            try:
                messages = self._socket.unasked()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                continue  # copies were lost; they are only samples
            found += (sample for sample in map(read_sample, messages) if sample is not None)
        return tuple(found)

    def fileno(self) -> int:
        return self._socket.fileno()

    def _config(self, attribute: bytes) -> Request:
        return Request(_CONFIG, nfnl.header(socket.AF_UNSPEC, self._group) + attribute)


def read_sample(message: Message) -> Sample | None:
    """The packet of a message; None if it is no packet, or its headers cannot be read."""
    if message.kind != _PACKET:
        return None
    found = nfnl.attributes(message)
    prefix = nl.string(found.get(_NFULA_PREFIX, b""))
    return parse_packet(prefix, found.get(_NFULA_PAYLOAD, b""))


def parse_packet(prefix: str, data: bytes) -> Sample | None:
    """What the start of an IP packet says."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= _IPV4:
        number, offset = data[9], (data[0] & 15) * 4
        if int.from_bytes(data[6:8], "big") & 0x1FFF:
            offset = len(data)  # a later fragment: what follows are no ports
        ends: tuple[IPAddress, IPAddress] = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    elif version == 6 and len(data) >= _IPV6:
        number, offset = _upper_layer(data)
        ends = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    else:
        return None
    port = data[offset + 2 : offset + 4] if number in _WITH_PORTS else b""
    return Sample(prefix, *ends, PROTOCOLS.get(number, str(number)), int.from_bytes(port, "big"))


def _upper_layer(data: bytes) -> tuple[int, int]:
    """The number of an IPv6 packet's upper-layer protocol, and where its header begins."""
    number, offset = data[6], _IPV6
    while offset + 8 <= len(data):
        if number in _EXTENSIONS:
            # "in 8-octet units, not including the first 8 octets" (RFC 8200, Hdr Ext Len)
            number, offset = data[offset], offset + (data[offset + 1] + 1) * 8
        elif number == _FRAGMENT:
            later = int.from_bytes(data[offset + 2 : offset + 4], "big") >> 3
            number, offset = data[offset], len(data) if later else offset + 8
        else:
            break
    return number, offset

"""Packets as bytes, right or wrong as one likes: what a raw socket sends.

`udp`, `tcp` and `icmp` make a transport's bytes, checksum and all; `ip` puts headers before any of
them; `fragments` cuts a packet; `vxlan` hides one in another.
"""

import struct
from collections.abc import Iterator
from ipaddress import ip_address

UDP, TCP, ICMP, ICMP6 = 17, 6, 1, 58
IPIP, GRE, SCTP, UDPLITE, EXPERIMENT, IP6IP6 = 4, 47, 132, 136, 253, 41
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
IPV4, IPV6, ARP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
STRANGER = b"\x02\0\0\0\0\x66"
"""A MAC address that nobody has."""
SYN, ACK, RST, FIN, PSH, URG = 0x02, 0x10, 0x04, 0x01, 0x08, 0x20


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _summed(source: str, destination: str, protocol: int, data: bytes, at: int) -> bytes:
    """The transport's bytes with their checksum, which stands at this offset."""
    ends = ip_address(source).packed + ip_address(destination).packed
    pseudo = ends + struct.pack("!II", len(data), protocol)
    return data[:at] + struct.pack("!H", checksum(pseudo + data) or 0xFFFF) + data[at + 2 :]


def udp(source: str, destination: str, payload: bytes, port: int, sport: int = 40000) -> bytes:
    head = struct.pack("!HHHH", sport, port, 8 + len(payload), 0)
    return _summed(source, destination, UDP, head + payload, 6)


def tcp(source: str, destination: str, payload: bytes, port: int, flags: int = SYN) -> bytes:
    head = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 8192, 0, 0)
    return _summed(source, destination, TCP, head + payload, 16)


def icmp(source: str, destination: str, payload: bytes, kind: int = 0, code: int = 0) -> bytes:
    """An ICMP message of the addresses' family: an echo request unless `kind` says otherwise."""
    six = ":" in source
    data = struct.pack("!BBHHH", kind or (128 if six else 8), code, 0, 1, 1) + payload
    if six:
        return _summed(source, destination, ICMP6, data, 2)
    return data[:2] + struct.pack("!H", checksum(data)) + data[4:]


def ip(
    source: str,
    destination: str,
    protocol: int,
    data: bytes,
    *,
    hops: int = 64,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
) -> bytes:
    """One packet of the addresses' family; offset, `more` and options are IPv4's own."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(data), protocol, hops) + ends + data
    options += b"\0" * (-len(options) % 4)
    flags = (0x2000 if more else 0) | offset // 8
    words = 5 + len(options) // 4
    size = 4 * words + len(data)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, size, 7, flags, hops, protocol, 0)
    head = head[:10] + struct.pack("!H", checksum(head + ends + options))
    return head + ends + options + data


def fragments(
    source: str, destination: str, protocol: int, data: bytes, at: int
) -> Iterator[bytes]:
    """The packet in two pieces, cut at so many bytes, a multiple of eight."""
    for offset, piece, more in ((0, data[:at], True), (at, data[at:], False)):
        if ":" in source:
            head = struct.pack("!BBHI", protocol, 0, offset | more, 7)
            yield ip(source, destination, FRAGMENT, head + piece)
        else:
            yield ip(source, destination, protocol, piece, offset=offset, more=more)


def extended(source: str, destination: str, protocol: int, data: bytes, *kinds: int) -> bytes:
    """An IPv6 packet with extension headers that say nothing (PadN of six)."""
    following = protocol
    for kind in reversed(kinds):
        if kind == AUTHENTICATION:
            data = struct.pack("!BBHII", following, 1, 0, 1, 1) + data
        else:
            data = struct.pack("!BBBB4x", following, 0, 1, 4) + data
        following = kind
    return ip(source, destination, following, data)


def routing(to: str, protocol: int, data: bytes, kind: int) -> bytes:
    """A routing header of IPv6, with one stop more, and what follows it.

    The word after it is reserved, or says of type 4 which stop is last.
    """
    return struct.pack("!BBBB4x", protocol, 2, kind, 1) + ip_address(to).packed + data


def source_route(to: str, kind: int) -> bytes:
    """An IPv4 option: one stop more (RFC 791: 131 loose, 137 strict)."""
    return struct.pack("!BBB", kind, 7, 4) + ip_address(to).packed


def arp(operation: int, sender: tuple[bytes, str], target: tuple[bytes, str]) -> bytes:
    """An ARP message for Ethernet and IPv4 (RFC 826), without its Ethernet header."""
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + b"".join(mac + ip_address(own).packed for mac, own in (sender, target))


def ethernet(to: bytes, source: bytes, kind: int, data: bytes, *tags: tuple[int, int]) -> bytes:
    """A frame, with VLAN tags (type and number), the outer one first."""
    tagged = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return to + source + tagged + struct.pack("!H", kind) + data


def vxlan(inner: bytes, vni: int, mac: bytes) -> bytes:
    """What goes into UDP 4789 (RFC 7348, section 5): header, Ethernet frame."""
    frame = ethernet(mac, STRANGER, kind_of(inner), inner)
    return struct.pack("!II", 0x08 << 24, vni << 8) + frame


def kind_of(packet: bytes) -> int:
    """The Ethernet type of an IP packet."""
    return IPV6 if packet[0] >> 4 == 6 else IPV4


def option(kind: int, data: bytes) -> bytes:
    """One option of neighbour discovery, padded (RFC 4861, section 4.6)."""
    data += b"\0" * (-(len(data) + 2) % 8)
    return bytes((kind, (len(data) + 2) // 8)) + data

"""First packets of flows as bytes, each with a number that identifies it where it arrives.

    TCP     a SYN; the number is its sequence number, answered by SYN ACK or RST
    UDP     a datagram that holds the number
    ICMP    an echo request that holds the number
    SCTP    an INIT; the number is its initiate tag, answered by INIT ACK (sctp.py)

Addresses and ports may be translated on the way; these numbers are not. An ICMP error quotes the
packet that it is about, and so the number. A probe may be made longer with zeros: they are no part
of what identifies it.
"""

import socket
import struct
from typing import Literal

import msgspec

from steppe.net.address import IPAddress
from steppe.net.packet import NUMBERS, PROTOCOLS, Packet, Protocol
from steppe_lab.probe import sctp

What = Literal["asked", "answered", "refused", "too big"]

_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_ECHO = struct.Struct("!BBHHH")
_HELD = struct.Struct("!4s4sI")
MARK, _ASK, _ANSWER = b"stpy", b"ask?", b"ans!"
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_ECHO_TYPES = {4: (8, 0), 6: (128, 129)}
_UNREACHABLE = {4: 3, 6: 1}
# RFC 792 and 1812: port unreachable, and by an administrator; RFC 4443, 3.1: the same.
_REFUSALS = {4: (3, 9, 10, 13), 6: (1, 4)}
_TOO_BIG = {4: (3, 4), 6: (2, 0)}
"""Type and code: "fragmentation needed and DF set" (RFC 1191), "packet too big" (RFC 4443, 3.2)."""
IP_HEADER = {4: 20, 6: 40}
"""Bytes of an IP header without options or extensions."""


class Heard(msgspec.Struct, frozen=True):
    """A packet that has to do with a probe: what it says, and the ports it has now.

    `mtu`: how many bytes of an IP packet fit, of one that was too big.
    """

    what: What
    number: int
    source_port: int = 0
    destination_port: int = 0
    mtu: int = 0


def ask(packet: Packet, number: int, size: int = 0) -> bytes:
    """The probe itself, without an IP header; with one it has `size` bytes, or as few as it needs.

    SCTP's is never made longer: its chunks say how long they are.
    """
    match packet.protocol:
        case "TCP":
            ports = packet.source_port, packet.destination_port
            header = _TCP.pack(*ports, number, 0, _TCP.size // 4 << 4, _SYN, 0xFFFF, 0, 0)
            return _summed(packet, _padded(packet, header, size), 16)
        case "UDP":
            return _datagram(packet, _ASK, number, size)
        case "SCTP":
            return sctp.Packet(
                packet.source_port, packet.destination_port, sctp.INIT, number
            ).encode()
        case "ICMP":
            kind, _ = _ECHO_TYPES[packet.source.version]
            held = _HELD.pack(MARK, _ASK, number)
            echo = _ECHO.pack(kind, 0, 0, number & 0xFFFF, 1) + held
            return _summed(packet, _padded(packet, echo, size), 2)


def answer(packet: Packet, number: int) -> bytes | None:
    """What a receiver sends back where its kernel does not do it; `packet` is the answer's."""
    match packet.protocol:
        case "UDP":
            return _datagram(packet, _ANSWER, number)
        case "SCTP":
            init = sctp.Packet(packet.destination_port, packet.source_port, sctp.INIT, number)
            return init.answer(own_tag=number ^ 0xFFFF).encode()
        case _:
            return None


def heard(protocol: Protocol, version: int, data: bytes) -> Heard | None:
    """What a packet says, without its IP header; None if it is nobody's probe."""
    try:
        match protocol:
            case "TCP":
                return _heard_tcp(data)
            case "UDP":
                return _heard_udp(data)
            case "SCTP":
                return _heard_sctp(data)
            case "ICMP":
                return _heard_icmp(version, data)
    except struct.error:
        return None  # too short to be one


def _heard_tcp(data: bytes) -> Heard | None:
    source, destination, sequence, acknowledged, _, flags, *_ = _TCP.unpack_from(data)
    number = (acknowledged - 1) & 0xFFFFFFFF
    match flags & (_SYN | _RST | _ACK):
        case 0x02:
            return Heard("asked", sequence, source, destination)
        case 0x12:
            return Heard("answered", number, source, destination)
        case 0x14:
            return Heard("refused", number, source, destination)
    return None


def _heard_udp(data: bytes) -> Heard | None:
    source, destination, *_ = _UDP.unpack_from(data)
    mark, way, number = _HELD.unpack_from(data, _UDP.size)
    if mark != MARK:
        return None
    return Heard("asked" if way == _ASK else "answered", number, source, destination)


def _heard_sctp(data: bytes) -> Heard | None:
    packet = sctp.decode(data)
    if packet is None:
        return None
    ports = packet.source_port, packet.destination_port
    if packet.kind == sctp.INIT:
        return Heard("asked", packet.tag, *ports)
    return Heard("answered", packet.verification_tag, *ports)


def _heard_icmp(version: int, data: bytes) -> Heard | None:
    kind, code, *_ = _ECHO.unpack_from(data)
    if kind in _ECHO_TYPES[version]:
        mark, _, number = _HELD.unpack_from(data, _ECHO.size)
        what: What = "asked" if kind == _ECHO_TYPES[version][0] else "answered"
        return Heard(what, number) if mark == MARK else None
    if (kind, code) == _TOO_BIG[version]:
        number = _quoted(version, data[_ECHO.size :])
        # RFC 1191, section 4: 16 bits after 16 unused ones; RFC 4443, 3.2: 32 bits.
        mtu = int.from_bytes(data[6:8] if version == 4 else data[4:8], "big")
        return Heard("too big", number, mtu=mtu) if number is not None else None
    if kind != _UNREACHABLE[version] or code not in _REFUSALS[version]:
        return None
    number = _quoted(version, data[_ECHO.size :])
    return Heard("refused", number) if number is not None else None


def _quoted(version: int, data: bytes) -> int | None:
    """The number of the packet that an ICMP error quotes from its IP header on."""
    if len(data) < 20:
        return None
    protocol = PROTOCOLS.get(data[9] if version == 4 else data[6])
    inner = data[(data[0] & 15) * 4 :] if version == 4 else data[40:]
    if protocol is None:
        return None
    if protocol == "TCP":
        # "plus the first 64 bits of the original datagram's data" (RFC 792): its header's begin.
        return int(struct.unpack_from("!I", inner, 4)[0])
    found = heard(protocol, version, inner)
    return found.number if found is not None else None


def _datagram(packet: Packet, way: bytes, number: int, size: int = 0) -> bytes:
    ports = packet.source_port, packet.destination_port
    held = _HELD.pack(MARK, way, number)
    length = len(_padded(packet, bytes(_UDP.size) + held, size))
    return _summed(packet, _padded(packet, _UDP.pack(*ports, length, 0) + held, size), 6)


def _padded(packet: Packet, data: bytes, size: int) -> bytes:
    """The data with zeros behind it, so that with its IP header it has `size` bytes."""
    return data.ljust(size - IP_HEADER[packet.source.version], b"\0")


def _summed(packet: Packet, data: bytes, place: int) -> bytes:
    """The data with its checksum at this place (RFC 9293, 3.1; RFC 8200, 8.1; RFC 792)."""
    version = packet.source.version
    pseudo = b""
    if (packet.protocol, version) != ("ICMP", 4):
        number = NUMBERS[packet.protocol][version]
        pseudo = packet.source.packed + packet.destination.packed
        pseudo += struct.pack("!II", len(data), number)
    total = checksum(pseudo + data) or 0xFFFF
    return data[:place] + total.to_bytes(2, "big") + data[place + 2 :]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071); an odd number of bytes counts with a zero behind it."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def sender_control(source: IPAddress) -> tuple[int, int, bytes]:
    """The control message by which a raw socket sends from this address (ip(7), RFC 3542)."""
    if source.version == 4:
        return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4x", 0, source.packed)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", source.packed, 0)


_IP_PKTINFO = 8
"""Not among the names of Python's socket module until 3.14."""

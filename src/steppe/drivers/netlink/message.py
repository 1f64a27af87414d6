"""Netlink messages and attributes as bytes: what netlink(7) calls nlmsghdr and nlattr.

    | length u32 | type u16 | flags u16 | sequence u32 | port u32 | body ... |
    body: a fixed struct of the object's own, then | length u16 | type u16 | payload, padded |...

Bytes only, without sockets: the other modules of this package know the objects.
"""

import struct
from collections.abc import Iterator

import msgspec

from steppe.errors import SteppeError

NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_ACK_TLVS = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class MalformedError(SteppeError):
    """The kernel sent bytes that are not netlink; this was never seen."""


class Request(msgspec.Struct, frozen=True):
    """A request without the sequence number, which the socket adds."""

    kind: int
    body: bytes
    flags: int = 0


class Message(msgspec.Struct, frozen=True):
    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    return _ATTRIBUTE.pack(length + 4, kind) + payload + _PADDING[length & 3]


def nested(kind: int, *inside: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(inside))


def u32(kind: int, number: int) -> bytes:
    return attribute(kind, number.to_bytes(4, "little" if _LITTLE else "big"))


def u16(kind: int, number: int) -> bytes:
    return attribute(kind, number.to_bytes(2, "little" if _LITTLE else "big"))


def u8(kind: int, number: int) -> bytes:
    return attribute(kind, bytes((number,)))


def text(kind: int, string: str) -> bytes:
    return attribute(kind, string.encode() + b"\0")


_LITTLE = struct.pack("=H", 1) == b"\x01\0"


def number(payload: bytes) -> int:
    """A payload in the machine's own byte order, as all rtnetlink numbers are but ports."""
    return int.from_bytes(payload, "little" if _LITTLE else "big")


def string(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="replace")


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on, by type; of a repeated type the last one counts."""
    return dict(sequence(data, offset))


def sequence(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from `offset` on, each with its type, in their order."""
    end = len(data)
    unpack = _ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, kind = unpack(data, offset)
        if length < 4 or offset + length > end:
            raise MalformedError(f"netlink attribute of {length} bytes with {end - offset} left")
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def packed(request: Request, sequence: int, flags: int) -> bytes:
    """The request as it goes out; its body is a multiple of 4 bytes, as padding keeps it."""
    body = request.body
    return HEADER.pack(len(body) + 16, request.kind, request.flags | flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """The messages that one datagram holds."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            raise MalformedError(f"netlink message of {length} bytes with {end - offset} left")
        yield Message(kind, flags, sequence, port, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3

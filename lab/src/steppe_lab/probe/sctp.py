"""As much of SCTP as tells whether an association would come about: INIT and INIT ACK (RFC 9260).

For raw sockets: a kernel without SCTP has no others, and policy cannot tell the difference.
"""

import struct

import msgspec

INIT, INIT_ACK = 1, 2
_HEADER = struct.Struct("!HHII")
_CHUNK = struct.Struct("!BBHIIHHI")
_STREAMS = 10
_WINDOW = 106496
# "State Cookie (7)" is the one parameter that an INIT ACK must have (3.3.3).
_COOKIE = struct.pack("!HH4s", 7, 8, b"stpy")


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_CRC32C = _table()


class Packet(msgspec.Struct, frozen=True):
    """A packet whose first chunk opens an association, or agrees to one."""

    source_port: int
    destination_port: int
    kind: int
    tag: int
    """What the other end has to put into each of its packets."""
    verification_tag: int = 0
    """ "When an endpoint sends a packet with an INIT chunk, the verification tag must be 0"."""

    def answer(self, own_tag: int) -> "Packet":
        """The INIT ACK to this INIT."""
        return Packet(self.destination_port, self.source_port, INIT_ACK, own_tag, self.tag)

    def encode(self) -> bytes:
        cookie = _COOKIE if self.kind == INIT_ACK else b""
        length = _CHUNK.size + len(cookie)
        chunk = _CHUNK.pack(self.kind, 0, length, self.tag, _WINDOW, _STREAMS, _STREAMS, self.tag)
        ports = self.source_port, self.destination_port
        body = chunk + cookie
        checksum = _crc32c(_HEADER.pack(*ports, self.verification_tag, 0) + body)
        # "the CRC32c value is placed with its least significant byte first" (appendix A)
        swapped = int.from_bytes(checksum.to_bytes(4, "little"), "big")
        return _HEADER.pack(*ports, self.verification_tag, swapped) + body


def decode(data: bytes) -> Packet | None:
    """The packet, if it is one of the two kinds."""
    if len(data) < _HEADER.size + _CHUNK.size:
        return None
    source, destination, verification, _ = _HEADER.unpack_from(data)
    kind, _, _, tag, *_ = _CHUNK.unpack_from(data, _HEADER.size)
    return (
        Packet(source, destination, kind, tag, verification) if kind in (INIT, INIT_ACK) else None
    )


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC32C[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF

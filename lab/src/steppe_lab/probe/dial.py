"""One exchange over a socket in the source's namespace.

The question suits every server of the lab: `/clientip` over HTTP and `clientip` in a datagram are
agnhost's, and echo answers anything with JSON that names the peer.
"""

import asyncio
import json
import os
import socket
import struct

import msgspec

from steppe_lab.probe import wire
from steppe_lab.probe.plan import Probe, Protocol

TIMEOUT_SECONDS = 2.0
DATAGRAM_TRIES = 3

_ECHO_REQUEST = {4: (8, 0), 6: (128, 0)}
_ECHO_REPLY = {4: 0, 6: 129}


class Answer(msgspec.Struct, frozen=True):
    """What came back: an error, or the address the receiver says it saw (empty: it told none)."""

    seen: str = ""
    error: str = ""
    milliseconds: float = 0


def make_socket(version: int, protocol: Protocol) -> socket.socket:
    """A socket of the calling thread's namespace."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    flags = socket.SOCK_NONBLOCK
    if protocol == "icmp":
        number = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
        return socket.socket(family, socket.SOCK_RAW | flags, number)
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    return socket.socket(family, kind | flags)


async def dial(sock: socket.socket, probe: Probe) -> Answer:
    """The answer to one probe, or the error in its place."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    address = probe.target.address(probe.version)
    if not address:
        return Answer(error=f"{probe.target.name} has no IPv{probe.version} address")
    ask = {"tcp": _ask_stream, "udp": _ask_datagram, "icmp": _ask_icmp}[probe.protocol]
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if probe.protocol == "tcp":
                await loop.sock_connect(sock, (address, probe.port))
            else:
                sock.connect((address, probe.port))  # sends nothing, so it never waits
            seen = await ask(sock, probe)
    except TimeoutError:
        return Answer(error="no answer")
    except OSError as error:
        return Answer(error=os.strerror(error.errno) if error.errno else str(error))
    except ValueError as error:
        return Answer(error=f"unreadable answer: {error}")
    return Answer(seen, milliseconds=round((loop.time() - began) * 1000, 2))


async def _ask_stream(sock: socket.socket, probe: Probe) -> str:
    loop = asyncio.get_running_loop()
    host = probe.target.name.replace("/", ".")
    question = f"GET /clientip HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(sock, question.encode())
    text = b""
    while chunk := await loop.sock_recv(sock, 4096):
        text += chunk
        if not text.startswith(b"HTTP/"[: len(text)]) and b"\n" in text:
            break  # echo's plain TCP sends a line without a request
    return peer_told(text.rpartition(b"\r\n\r\n")[2] if text.startswith(b"HTTP/") else text)


async def _ask_datagram(sock: socket.socket, probe: Probe) -> str:
    del probe
    loop = asyncio.get_running_loop()
    # Datagrams may get lost on the way, so a try or two more is no cheating.
    for left in reversed(range(DATAGRAM_TRIES)):
        await loop.sock_sendall(sock, b"clientip")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS / (DATAGRAM_TRIES + 1)):
                return peer_told(await loop.sock_recv(sock, 4096))
        except TimeoutError:
            if not left:
                raise
    return ""


async def _ask_icmp(sock: socket.socket, probe: Probe) -> str:
    loop = asyncio.get_running_loop()
    mark = os.urandom(12)
    await loop.sock_sendall(sock, _echo_request(probe.version, mark))
    while True:
        packet = await loop.sock_recv(sock, 2048)
        # raw(7): IPv4 hands over the IP header too; IPv6 never does (RFC 3542, section 3).
        message = packet[(packet[0] & 15) * 4 :] if probe.version == 4 else packet
        if message[0] == _ECHO_REPLY[probe.version] and message.endswith(mark):
            return ""


def _echo_request(version: int, mark: bytes) -> bytes:
    kind, code = _ECHO_REQUEST[version]
    header = struct.pack("!BBHHH", kind, code, 0, os.getpid() & 0xFFFF, 1)
    # The kernel fills in ICMPv6 checksums (RFC 3542, section 3.1), and leaves those of ICMP to us.
    checksum = wire.checksum(header + mark) if version == 4 else 0
    return struct.pack("!BBHHH", kind, code, checksum, os.getpid() & 0xFFFF, 1) + mark


def peer_told(text: bytes) -> str:
    """The address in an answer: echo's JSON, or agnhost's ADDRESS:PORT; empty for other pages."""
    said = text.decode(errors="replace").strip()
    if said.startswith("{"):
        return str(json.loads(said.splitlines()[0]).get("peer", ""))
    host, colon, port = said.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else ""

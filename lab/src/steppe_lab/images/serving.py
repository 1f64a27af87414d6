"""Servers on plain threads: TCP, UDP and SCTP listeners on both families, and a small HTTP/1.1.

A thread a connection and nothing but `socket`: asyncio or http.server would triple the start-up
time and double the memory of each pod.
"""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

Address = tuple[str, int]
_BACKLOG = 1024
_LONGEST_LINE = 65536


class Request(NamedTuple):
    """An HTTP request, and who sent it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    peer: Address
    local: Address


class Response(NamedTuple):
    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


ConnectionHandler = Callable[[socket.socket, Address], None]
HttpHandler = Callable[[Request], Response]


def plain_address(address: tuple[object, ...]) -> Address:
    """Host and port; an IPv4 peer of a dual-stack socket without its ::ffff: prefix."""
    host, port = str(address[0]), int(str(address[1]))
    return host.removeprefix("::ffff:") if "." in host else host, port


def family(host: str) -> str:
    return "ipv6" if ":" in host else "ipv4"


def listener(port: int, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    """A socket bound to a port on all addresses of both families."""
    try:
        sock = socket.socket(socket.AF_INET6, kind, protocol)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = "::"
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        sock = socket.socket(socket.AF_INET, kind, protocol)
        address = "0.0.0.0"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind != socket.SOCK_DGRAM:
        sock.listen(_BACKLOG)
    return sock


def start(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def serve_connections(
    sock: socket.socket, handle: Callable[[socket.socket, Address], None]
) -> None:
    """Accept for ever, a thread a connection."""
    while True:
        try:
            connection, peer = sock.accept()
        except OSError as error:
            if error.errno in {errno.EBADF, errno.EINVAL}:
                return  # closed: the server is stopping
            continue
        start(_handle, handle, connection, plain_address(peer))


def serve_sctp(port: int, handle: ConnectionHandler) -> list[socket.socket]:
    """Serve SCTP where the kernel has it; where it has not, say so, and serve the rest."""
    try:
        sock = listener(port, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    except OSError as error:
        if error.errno not in {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}:
            raise
        say(f"no SCTP on port {port}: the kernel lacks it (modprobe sctp)")
        return []
    start(serve_connections, sock, handle)
    return [sock]


def _handle(handle: ConnectionHandler, connection: socket.socket, peer: Address) -> None:
    with connection, contextlib.suppress(OSError):
        handle(connection, peer)


def serve_datagrams(sock: socket.socket, answer: Callable[[bytes, Address], bytes | None]) -> None:
    """Answer datagrams for ever, from the address each was sent to."""
    # With several addresses the kernel would choose the source by route, which is not always the
    # one the client sent to: take it from the packet.
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    while True:
        try:
            data, ancillary, _, peer = sock.recvmsg(65536, 256)
            reply = answer(data, plain_address(peer))
            if reply is not None:
                kept = [one for one in ancillary if one[1] in _PKTINFO_TYPES]
                sock.sendmsg([reply], kept, 0, peer)
        except OSError as error:
            if error.errno in {errno.EBADF, errno.EINVAL}:
                return


_IP_PKTINFO = 8  # linux/in.h; the socket module lacks it
_PKTINFO_TYPES = frozenset({_IP_PKTINFO, socket.IPV6_PKTINFO})


def serve_http(sock: socket.socket, handler: HttpHandler) -> None:
    """Serve HTTP on a listening socket for ever."""
    serve_connections(sock, lambda connection, peer: _converse(connection, peer, handler))


def _converse(connection: socket.socket, peer: Address, handler: HttpHandler) -> None:
    local = plain_address(connection.getsockname())
    with connection.makefile("rb") as reader:
        while True:
            line = reader.readline(_LONGEST_LINE)
            if not line.strip():
                return
            parts = line.decode("latin-1").split()
            if len(parts) != 3:
                connection.sendall(_encode(Response(b"bad request", 400), close=True))
                return
            headers = _headers(iter(lambda: reader.readline(_LONGEST_LINE), b""))
            body = reader.read(int(headers.get("content-length") or 0))
            url = urlsplit(parts[1])
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            request = Request(parts[0], unquote(url.path), query, headers, body, peer, local)
            close = "close" in headers.get("connection", "").lower() or parts[2] == "HTTP/1.0"
            answer = handler(request)
            connection.sendall(_encode(answer, close=close, head=parts[0] == "HEAD"))
            if close:
                return


def _headers(lines: Iterator[bytes]) -> dict[str, str]:
    headers = {}
    for line in lines:
        text = line.decode("latin-1").strip()
        if not text:
            break
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _encode(response: Response, *, close: bool, head: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
    ]
    if close:
        lines.append("Connection: close")
    start_ = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return start_ if head else start_ + response.body


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


_terminated = threading.Event()


def catch_termination() -> None:
    """Call first: the first process of a PID namespace never sees a signal it does not handle."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        _terminated.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def serve_until_terminated(sockets: list[socket.socket], delay: float = 0) -> int:
    """Sleep until SIGTERM and `delay` seconds longer, then stop accepting; the exit status, 0."""
    _terminated.wait()
    time.sleep(delay)
    for sock in sockets:
        # shutdown wakes the thread that waits in accept; close alone would not.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
    return 0


def say(text: str) -> None:
    """A line in the container's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hostname() -> str:
    return os.uname().nodename

"""The part of Kubernetes' test image agnhost that network tests use, and `pause` and `nginx`.

Flags, endpoints and answers are those of test/images/agnhost in kubernetes/kubernetes.
"""

import argparse
import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from steppe_lab.images import serving
from steppe_lab.images.dialing import dial
from steppe_lab.images.serving import Address, Request, Response

_NGINX_PAGE = b"<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n"


def pause(_arguments: list[str]) -> int:
    """Nothing, until SIGTERM."""
    serving.catch_termination()
    return serving.serve_until_terminated([])


def nginx(_arguments: list[str]) -> int:
    """A welcome page on port 80."""
    serving.catch_termination()
    sock = serving.listener(80, socket.SOCK_STREAM)
    page = Response(_NGINX_PAGE, content_type="text/html")
    missing = Response(b"not found\n", 404)
    serving.start(
        serving.serve_http, sock, lambda r: page if r.path in {"/", "/index.html"} else missing
    )
    return serving.serve_until_terminated([sock])


def netexec(arguments: list[str]) -> int:
    """HTTP, UDP and SCTP servers with small endpoints for tests."""
    serving.catch_termination()
    parser = argparse.ArgumentParser(prog="netexec")
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--udp-port", default="8081", help="ports, separated by commas; -1: none")
    parser.add_argument("--sctp-port", type=int, default=-1)
    parser.add_argument("--http-override", default="", help="answer every path as this one")
    parser.add_argument("--delay-shutdown", type=int, default=0, help="seconds after SIGTERM")
    flags = parser.parse_args(_single_dashes(arguments))
    sockets = [serving.listener(flags.http_port, socket.SOCK_STREAM)]
    serving.start(serving.serve_http, sockets[0], _NetExec(flags.http_override).answer)
    for port in (int(text) for text in flags.udp_port.split(",") if int(text) > 0):
        udp = serving.listener(port, socket.SOCK_DGRAM)
        sockets.append(udp)
        serving.start(serving.serve_datagrams, udp, _command)
    if flags.sctp_port > 0:
        sockets += serving.serve_sctp(flags.sctp_port, _commands)
    serving.say(f"netexec listens on http:{flags.http_port} udp:{flags.udp_port}")
    return serving.serve_until_terminated(sockets, flags.delay_shutdown)


def serve_hostname(arguments: list[str]) -> int:
    """The host's name, by HTTP (default), TCP or UDP."""
    serving.catch_termination()
    parser = argparse.ArgumentParser(prog="serve-hostname")
    parser.add_argument("--http", default="true", nargs="?", const="true")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--port", type=int, default=9376)
    flags = parser.parse_args(_single_dashes(arguments))
    name = serving.hostname().encode()
    sockets = []
    if flags.udp:
        udp = serving.listener(flags.port, socket.SOCK_DGRAM)
        sockets.append(udp)
        serving.start(serving.serve_datagrams, udp, lambda _data, _peer: name)
    if flags.tcp or flags.http.lower() == "true":
        tcp = serving.listener(flags.port, socket.SOCK_STREAM)
        sockets.append(tcp)
        if flags.tcp:
            serving.start(serving.serve_connections, tcp, lambda sock, _peer: sock.sendall(name))
        else:
            serving.start(serving.serve_http, tcp, lambda _request: Response(name))
    return serving.serve_until_terminated(sockets)


def connect(arguments: list[str]) -> int:
    """Try one connection; 0, or 1 and a word on stderr: TIMEOUT, REFUSED, DNS or OTHER."""
    parser = argparse.ArgumentParser(prog="connect")
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("--timeout", default="1s")
    parser.add_argument("--protocol", default="tcp", choices=("tcp", "udp", "sctp"))
    flags = parser.parse_args(_single_dashes(arguments))
    host, _, port = flags.target.rpartition(":")
    try:
        _connect(host.strip("[]"), int(port), flags.protocol, _seconds(flags.timeout))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{_word(error)}\n")
        return 1
    return 0


def _connect(host: str, port: int, protocol: str, timeout: float) -> None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = socket.IPPROTO_SCTP if protocol == "sctp" else 0
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind if not number else 0)[0]
    with socket.socket(family, kind, number) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        if protocol == "udp":
            # agnhost: a datagram that nobody answers is a timeout.
            sock.send(b"hello")
            sock.recv(1024)


def _word(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"DNS: {error}"
    if isinstance(error, TimeoutError):
        return "TIMEOUT"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "REFUSED"
    return f"OTHER: {error}"


def _seconds(duration: str) -> float:
    """Go's durations, as far as tests use them: 500ms, 3s, 2m."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if duration.endswith(suffix):
            return float(duration.removesuffix(suffix)) * factor
    return float(duration)


def _single_dashes(arguments: list[str]) -> list[str]:
    """Go programs take `-timeout=3s` for `--timeout=3s`."""
    return [
        f"-{word}" if word.startswith("-") and not word.startswith("--") and len(word) > 2 else word
        for word in arguments
    ]


class _NetExec:
    """The HTTP side of netexec."""

    def __init__(self, override: str) -> None:
        self._override = override

    def answer(self, request: Request) -> Response:
        endpoint = _ENDPOINTS.get(self._override or request.path)
        return endpoint(request) if endpoint else Response(b"404 page not found\n", 404)


def _hostname(_request: Request) -> Response:
    return Response(serving.hostname().encode())


def _client_ip(request: Request) -> Response:
    return Response(_joined(request.peer).encode())


def _dial(request: Request) -> Response:
    return Response(json.dumps(dial(request.query)).encode(), content_type="application/json")


def _header(request: Request) -> Response:
    name = request.query.get("key", "").lower()
    return Response(request.headers.get(name, "").encode())


def _now(_request: Request) -> Response:
    return Response(f"NOW: {time.strftime('%F %T %z')}".encode())


def _joined(peer: Address) -> str:
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _echo(request: Request) -> Response:
    code = request.query.get("code", "200")
    status = int(code) if code.isdecimal() else 200
    return Response(request.query.get("msg", "").encode(), status)


def _exit(request: Request) -> Response:
    """End the process after this answer; `code`, and `wait` before."""
    code = int(request.query.get("code", "0"))
    wait = _seconds(request.query.get("wait", "0.05s"))
    threading.Timer(max(wait, 0.05), os._exit, (code,)).start()
    return Response(b"")


_ENDPOINTS: dict[str, Callable[[Request], Response]] = {
    "/": _now,
    "/hostname": _hostname,
    "/hostName": _hostname,
    "/clientip": _client_ip,
    "/dial": _dial,
    "/echo": _echo,
    "/exit": _exit,
    "/header": _header,
    "/healthz": lambda _request: Response(b""),
}


def _command(data: bytes, peer: Address) -> bytes | None:
    """Netexec's datagrams: `hostname`, `echo TEXT`, `clientip`."""
    word, _, rest = data.decode(errors="replace").strip().partition(" ")
    match word.lower():
        case "hostname":
            return serving.hostname().encode()
        case "echo":
            return rest.encode()
        case "clientip":
            return _joined(peer).encode()
    return b""


def _commands(connection: socket.socket, peer: Address) -> None:
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(_command(data, peer) or b"")

"""The echo image: tells each client, as JSON, the address it was seen with.

Ports come from flags (`--http 8080 --tcp 7,9000 --udp 7 --sctp 7`), else from the environment
(`HTTP_PORT`, `TCP_PORT`, `UDP_PORT`, `SCTP_PORT`), else HTTP on 8080 and TCP and UDP on 7.
"""

import argparse
import json
import os
import socket

from steppe_lab.images import serving
from steppe_lab.images.serving import Address, Request, Response

_DEFAULTS = {"http": "8080", "tcp": "7", "udp": "7", "sctp": ""}


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM."""
    serving.catch_termination()
    ports = _ports(arguments)
    sockets = []
    for port in ports["http"]:
        sock = serving.listener(port, socket.SOCK_STREAM)
        sockets.append(sock)
        serving.start(serving.serve_http, sock, _http)
    for port in ports["tcp"]:
        sock = serving.listener(port, socket.SOCK_STREAM)
        sockets.append(sock)
        serving.start(serving.serve_connections, sock, _tcp)
    for port in ports["udp"]:
        sock = serving.listener(port, socket.SOCK_DGRAM)
        sockets.append(sock)
        serving.start(serving.serve_datagrams, sock, lambda data, peer: _said("udp", peer, data))
    for port in ports["sctp"]:
        sockets += serving.serve_sctp(port, _sctp)
    told = " ".join(f"{kind}:{port}" for kind, listed in ports.items() for port in listed)
    serving.say(f"echo listens on {told}")
    return serving.serve_until_terminated(sockets)


def _ports(arguments: list[str]) -> dict[str, list[int]]:
    """The ports of each protocol; a protocol's flag goes before its variable."""
    parser = argparse.ArgumentParser(prog="echo")
    for kind in _DEFAULTS:
        parser.add_argument(f"--{kind}", help=f"{kind.upper()} ports, separated by commas")
    flags = vars(parser.parse_args(arguments))
    given = {
        kind: flags[kind] if flags[kind] is not None else os.environ.get(f"{kind.upper()}_PORT")
        for kind in _DEFAULTS
    }
    if all(value is None for value in given.values()):
        given = dict(_DEFAULTS)
    return {
        kind: [int(port) for port in (value or "").split(",") if port]
        for kind, value in given.items()
    }


def _about(protocol: str, peer: Address) -> dict[str, object]:
    host, port = peer
    return {
        "protocol": protocol,
        "peer": host,
        "peerPort": port,
        "family": serving.family(host),
        "pod": os.environ.get("POD_NAME") or serving.hostname(),
        "namespace": os.environ.get("POD_NAMESPACE", ""),
        "node": os.environ.get("NODE_NAME", ""),
    }


def _http(request: Request) -> Response:
    local = {"address": request.local[0], "localPort": request.local[1]}
    about = _about("http", request.peer) | local
    about |= {"method": request.method, "path": request.path, "host": request.headers.get("host")}
    return Response(json.dumps(about).encode() + b"\n", content_type="application/json")


def _tcp(connection: socket.socket, peer: Address) -> None:
    """One line that tells the peer, then everything comes back as it was sent."""
    connection.sendall(_said("tcp", peer, b""))
    while data := connection.recv(65536):
        connection.sendall(data)


def _said(protocol: str, peer: Address, data: bytes) -> bytes:
    about = _about(protocol, peer)
    if data:
        about["data"] = data.decode(errors="replace")
    return json.dumps(about).encode() + b"\n"


def _sctp(connection: socket.socket, peer: Address) -> None:
    connection.sendall(_said("sctp", peer, b""))

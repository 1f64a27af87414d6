"""Both ends of TCP connections: one request after the other, or one connection after the other.

    peer.py serve                        prints its port, serves one connection, ends
    peer.py call ADDRESS PORT SECONDS    prints responses a second
    peer.py accept PORT                  says when it listens, takes connections until it is ended
    peer.py connect ADDRESS PORT SECONDS prints connections a second

A script of its own, so that it runs with `python -I -S` inside a namespace: no import but these.
"""

import socket
import struct
import sys
import time

MESSAGE = b"x" * 64


def exact(connection: socket.socket) -> bool:
    """Receive one whole message; False when the other end is gone."""
    left = len(MESSAGE)
    while left:
        data = connection.recv(left)
        if not data:
            return False
        left -= len(data)
    return True


def serve() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while exact(connection):
            connection.sendall(MESSAGE)


def call(address: str, port: int, seconds: float) -> None:
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = now = time.perf_counter()
        count = 0
        while now < began + seconds:
            connection.sendall(MESSAGE)
            if not exact(connection):
                sys.exit("the server is gone")
            count += 1
            now = time.perf_counter()
    print(count / (now - began))


def accept(port: int) -> None:
    address = ("::", port)
    with socket.create_server(
        address, family=socket.AF_INET6, dualstack_ipv6=True, backlog=1000
    ) as server:
        print(port, flush=True)
        while True:
            server.accept()[0].close()


def connect(address: str, port: int, seconds: float) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    began = now = time.perf_counter()
    count = 0
    while now < began + seconds:
        with socket.socket(family) as connection:
            # A reset at the end: no port is kept waiting.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.settimeout(5)
            connection.connect((address, port))
        count += 1
        now = time.perf_counter()
    print(count / (now - began))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["call", address, port, seconds]:
            call(address, int(port), float(seconds))
        case ["accept", port]:
            accept(int(port))
        case ["connect", address, port, seconds]:
            connect(address, int(port), float(seconds))

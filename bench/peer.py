"""One request, one response, over and over: both ends of a TCP connection.

    peer.py serve                     prints its port, serves one connection, ends
    peer.py call ADDRESS PORT SECONDS prints responses a second

A script of its own, so that it runs with `python -I -S` inside a namespace: no import but these.
"""

import socket
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


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        call(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

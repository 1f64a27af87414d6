"""SCTP as pods speak it where the kernel has no sockets for it: raw ones, two packets.

An INIT that is answered by an INIT ACK tells all there is to know of a Service: the rest of an
association goes where its first packet went.
"""

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Iterable, Iterator

from steppe_lab.probe.sctp import INIT, INIT_ACK, Packet, decode
from tests.lab.service_lab import REFUSED, SILENT, Target, World
from tests.waiting import patience

_ANSWER_SECONDS = 0.9
_TAGS = itertools.count(1)


class Associations:
    """Pods that agree to associations, and clients that ask for one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._met: dict[int, tuple[str, str]] = {}
        """Which pod has seen an INIT's tag, and from whom."""
        self._pods: dict[socket.socket, str] = {}
        self._stop = threading.Event()

    @contextlib.contextmanager
    def served_by(self, pods: Iterable[str]) -> Iterator["Associations"]:
        """All ports of these pods are served while the context lasts."""
        with contextlib.ExitStack() as stack:
            for name in pods:
                for address in self._world.addresses[name]:
                    sock = stack.enter_context(self._raw(name, address))
                    sock.bind((address, 0))
                    self._pods[sock] = name
            thread = threading.Thread(target=self._serve, name="sctp")
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._stop.set)
            yield self

    def ask(self, client: str, target: Target, source_port: int) -> str:
        """`POD sees WHOM`, refused, or silent: as the world's `ask`, for the other protocols."""
        tag = next(_TAGS)
        with self._raw(client, target.address) as sock:
            sock.settimeout(patience(_ANSWER_SECONDS))
            try:
                sock.connect((target.address, 0))
                sock.send(Packet(source_port, target.port, INIT, tag).encode())
                while (answer := _received(sock)) is None or not (
                    answer.kind == INIT_ACK
                    and answer.destination_port == source_port
                    and answer.verification_tag == tag
                ):
                    pass
            except TimeoutError:
                return SILENT
            except (ConnectionRefusedError, PermissionError):
                return REFUSED
        name, peer = self._met[tag]
        return f"{name} sees {self._world.who(peer, client)}"

    def _raw(self, place: str, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)  # noqa: E731
        return self._world.inside(place, made)

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select(list(self._pods), [], [], 0.1)
            for sock in ready:
                data, peer = sock.recvfrom(2048)
                asked = decode(_payload(sock, data))
                if asked is not None and asked.kind == INIT:
                    self._met[asked.tag] = (self._pods[sock], peer[0])
                    sock.sendto(asked.answer(next(_TAGS)).encode(), (peer[0], 0))


def _received(sock: socket.socket) -> Packet | None:
    return decode(_payload(sock, sock.recv(2048)))


def _payload(sock: socket.socket, data: bytes) -> bytes:
    """What follows the IP header, which raw sockets show for IPv4 only."""
    return data[(data[0] & 0x0F) * 4 :] if sock.family == socket.AF_INET else data

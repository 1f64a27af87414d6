"""Sends first packets from namespaces, and observes in all namespaces where they arrive.

A raw socket is handed a copy of each packet that its namespace takes in, whether or not anyone
listens there (raw(7)). So no server is needed, and it is known what a receiver sees: which pod it
is, the port, and the sender's address at that point.

    sender's namespace ── SYN, datagram, echo request, INIT ──▶ some namespace: arrived
           ▲                                                          │
           └───── its kernel's answer; for UDP and SCTP, ours ────────┘

No packet may be fragmented ("don't fragment" is set, and path MTUs that were learnt are ignored),
so that larger ones tell how much a path takes.

A socket always belongs to the namespace in which it was made, so one thread is enough.
"""

import itertools
import random
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from errno import EMSGSIZE
from functools import partial
from ipaddress import ip_address
from typing import Self

import msgspec

from steppe.net.address import IPAddress, parse_address
from steppe.net.packet import NUMBERS, Packet, Protocol
from steppe_lab import netns
from steppe_lab.probe import wire

TRIES = (0.4, 0.8, 1.6)
"""Seconds to wait for an expected answer before the next try."""
SILENCE_SECONDS = 0.3
"""Seconds to wait for answers that should not come, after all others."""
_SOURCE_PORTS = range(20000, 60000)
_BUFFER = 4 << 20

Say = Callable[[int], None]


class Shot(msgspec.Struct, frozen=True):
    """A packet to send from a namespace; the source port is chosen here.

    `hoped`: an answer is expected; the packet is sent again if there is none. `size`: the bytes of
    the IP packet, 0 for as few as possible; of a larger one no answer is waited for but only its
    arrival, or the word that it is too big.
    """

    netns: str
    packet: Packet
    hoped: bool = True
    size: int = 0


class Arrival(msgspec.Struct, frozen=True, order=True):
    """Where a packet arrived, with its port and sender's address there."""

    netns: str
    port: int
    source: str


class Outcome(msgspec.Struct, frozen=True):
    """Where the packet arrived (several receivers are possible), and what the sender got back.

    `too_big`: the sender's own kernel, or one on the way, says that it is; `room`: the bytes that
    would fit, 0 if that was not said.
    """

    arrivals: tuple[Arrival, ...] = ()
    answered: bool = False
    refused: bool = False
    too_big: bool = False
    room: int = 0


class Wires:
    """Raw sockets in many namespaces; a context manager that closes them.

    Invariant: every socket stays in the namespace in which it was made; all are closed on exit.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[str, Protocol, int], socket.socket] = {}
        self._ports = itertools.cycle(_SOURCE_PORTS)
        # Start at a random port: flows and late packets of an earlier run must not match ours.
        for _ in range(random.randrange(len(_SOURCE_PORTS))):  # noqa: S311  nothing secret
            next(self._ports)
        self._first = random.getrandbits(31) | 1
        self._began: list[Shot] = []
        self._arrived: dict[int, set[Arrival]] = {}
        self._answers: dict[int, set[wire.What]] = {}
        self._room: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._selector.close()

    def watch(self, name: str, protocols: Iterable[Protocol], versions: Sequence[int]) -> None:
        """Observe from now on what arrives in this namespace, and which answers its senders get."""
        wanted = [
            key
            for protocol in dict.fromkeys((*protocols, "ICMP"))  # which also tells of errors
            for version in versions
            if (key := (name, protocol, version)) not in self._sockets
        ]
        _allow_files(len(self._sockets) + len(wanted))
        made = netns.inside(name, lambda: [_raw(key[1], key[2]) for key in wanted])
        for key, sock in zip(wanted, made, strict=True):
            self._sockets[key] = sock
            self._selector.register(sock, selectors.EVENT_READ, partial(self._take, key, sock))

    @property
    def next_number(self) -> int:
        """The number of the next shot; those after it count on from there."""
        return self._first + len(self._began)

    def hear(self, sock: socket.socket, take: Callable[[], None]) -> None:
        """Call this too whenever the socket is readable, for as long as shots are sent."""
        self._selector.register(sock, selectors.EVENT_READ, take)

    def shoot(self, shots: Sequence[Shot], rate: float, say: Say = lambda _: None) -> list[Outcome]:
        """Send the shots, `rate` packets a second; returns the outcome of each."""
        start = len(self._began)
        for shot in shots:
            port = next(self._ports) if shot.packet.destination_port else 0
            packet = msgspec.structs.replace(shot.packet, source_port=port)
            self._began.append(msgspec.structs.replace(shot, packet=packet))
        sent = range(start, len(self._began))
        self._send(sent, rate, say)
        hoped = [index for index in sent if self._began[index].hoped]
        for seconds in TRIES:
            hoped = self._await(hoped, seconds)
            self._send(hoped, rate, lambda _: None)
        self._listen(SILENCE_SECONDS)
        return [self._outcome(index) for index in sent]

    def _send(self, indices: Iterable[int], rate: float, say: Say) -> None:
        began = time.monotonic()
        for count, index in enumerate(indices):
            due = began + count / rate
            while self._select(max(0.0, due - time.monotonic())) or time.monotonic() < due:
                pass
            shot, number = self._began[index], self._first + index
            packet = shot.packet
            sock = self._sockets[shot.netns, packet.protocol, packet.source.version]
            if not _send(sock, packet, wire.ask(packet, number & 0xFFFFFFFF, shot.size)):
                self._answers.setdefault(index, set()).add("too big")
            say(count + 1)

    def _await(self, hoped: Sequence[int], seconds: float) -> list[int]:
        """The shots that are not answered in time."""
        deadline = time.monotonic() + seconds
        while hoped and (left := deadline - time.monotonic()) > 0:
            self._select(left)
            hoped = [index for index in hoped if not self._is_done(index)]
        return list(hoped)

    def _is_done(self, index: int) -> bool:
        return index in self._answers or (self._began[index].size > 0 and index in self._arrived)

    def _listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._select(left)

    def _select(self, seconds: float) -> bool:
        events = self._selector.select(seconds)
        for key, _ in events:
            key.data()
        return bool(events)

    def _outcome(self, index: int) -> Outcome:
        said = self._answers.get(index, set())
        arrivals = tuple(sorted(self._arrived.get(index, ())))
        told = "answered" in said, "refused" in said, "too big" in said
        return Outcome(arrivals, *told, self._room.get(index, 0))

    def _take(self, key: tuple[str, Protocol, int], sock: socket.socket) -> None:
        name, protocol, version = key
        for data, source, destination in _received(sock, version):
            found = wire.heard(protocol, version, data)
            if found is None:
                continue
            index = (found.number - self._first) & 0xFFFFFFFF
            if index >= len(self._began):
                continue
            if found.what != "asked":
                if name == self._began[index].netns and self._is_of(index, found):
                    self._answers.setdefault(index, set()).add(found.what)
                    self._room[index] = found.mtu or self._room.get(index, 0)
                continue
            arrival = Arrival(name, found.destination_port, str(source))
            self._arrived.setdefault(index, set()).add(arrival)
            if destination is not None:
                came = Packet(
                    source, destination, protocol, found.source_port, found.destination_port
                )
                back = wire.answer(came.answer, found.number)
                if back is not None:
                    _send(sock, came.answer, back)

    def _is_of(self, index: int, found: wire.Heard) -> bool:
        """Whether an answer comes to the port that was asked from.

        A reset acknowledges the bytes behind a SYN too (RFC 9293, 3.5.2), and so has the number of
        another probe.
        """
        asked = self._began[index].packet.source_port
        return found.destination_port in (0, asked)


def _raw(protocol: Protocol, version: int) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    sock = socket.socket(family, flags, NUMBERS[protocol][version])
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    # Past the limit of net.core.rmem_max, which root may.
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    return sock


def _received(
    sock: socket.socket, version: int
) -> Iterator[tuple[bytes, IPAddress, IPAddress | None]]:
    """What has come, without IP headers, with both addresses."""
    while True:
        try:
            data, control, _, peer = sock.recvmsg(2048, 128)
        except OSError:
            return  # no more, or an error about an earlier packet
        if version == 4:
            # raw(7): IPv4 hands over the IP header too; IPv6 never does (RFC 3542, section 3).
            yield data[(data[0] & 15) * 4 :], ip_address(data[12:16]), ip_address(data[16:20])
            continue
        held = [value for _, kind, value in control if kind == socket.IPV6_PKTINFO]
        sender = parse_address(str(peer[0]).partition("%")[0])
        yield data, sender, ip_address(held[0][:16]) if held else None


def _send(sock: socket.socket, packet: Packet, data: bytes) -> bool:
    """False if the sender's own link does not take a packet so large."""
    control = wire.sender_control(packet.source)
    try:
        sock.sendmsg([data], [control], 0, (str(packet.destination), 0))
    except OSError as error:
        # What else stops a packet in the sender's own kernel comes here too: it does not arrive.
        return error.errno != EMSGSIZE
    return True


def _allow_files(count: int) -> None:
    """As many open files as there are sockets, and some for everything else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
"""linux/in.h, in6.h: "Ignore dst pmtu", but never send more than the link takes, and set DF."""
_SO_RCVBUFFORCE = 33
"""asm-generic/socket.h; Python has no name for it."""

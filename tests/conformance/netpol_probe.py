"""Tries many connections at once, between network namespaces, from this one process.

A socket belongs for ever to the namespace it was made in, so both ends of every connection are
sockets of this process, and one loop serves and dials. Each dial has a source port that nobody had
lately: an older packet's conntrack entry would let it pass as part of a known connection.
"""

import contextlib
import errno
import functools
import itertools
import selectors
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from steppe_lab import netns
from steppe_lab.probe import sctp
from tests.conformance.netpol_cases import Protocol
from tests.waiting import patience

Outcome = Literal["connected", "refused", "timed out"]
Act = Callable[[], None]

# What shall get through is waited for; a packet that shall not has by then had as much time as all
# the others, and this much more.
_ANSWER_SECONDS = 2.5
_SILENCE_SECONDS = 0.1
_RESEND_SECONDS = 0.7
_MOST_AT_ONCE = 3000
_BACKLOG = 1024
_SOURCE_PORTS = (20000, 64999)
_ABORT = struct.pack("ii", 1, 0)
_REFUSALS = (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPERM, errno.EACCES)


class Place(msgspec.Struct, frozen=True, order=True):
    """An address in a namespace that connections come from or go to."""

    netns: str
    address: str

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET


class Dial(msgspec.Struct, frozen=True):
    """One connection to try. One that is `allowed` is waited for."""

    source: Place
    address: str
    port: int
    protocol: Protocol
    allowed: bool


class Prober:
    """Servers that stay, and dials that come and go."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._served: dict[tuple[Place, Protocol, int], socket.socket | None] = {}
        self._raw: dict[Place, socket.socket] = {}
        self._ports: dict[str, Iterator[int]] = defaultdict(_source_ports)
        self._associations: dict[tuple[Place, int], Act] = {}

    def close(self) -> None:
        for sock in (*self._served.values(), *self._raw.values()):
            if sock is not None:
                sock.close()
        self._selector.close()

    def serve(self, place: Place, protocol: Protocol, port: int) -> None:
        """Answer there from now on."""
        if (place, protocol, port) in self._served:
            return
        if protocol == "SCTP":
            self._raw_at(place)
            self._served[place, protocol, port] = None
            return
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        sock = netns.inside(place.netns, lambda: _bound(place, kind, port))
        if protocol == "TCP":
            sock.listen(_BACKLOG)
        act = _accept if protocol == "TCP" else _echo
        self._on(sock, selectors.EVENT_READ, functools.partial(act, sock))
        self._served[place, protocol, port] = sock

    def leave(self, name: str) -> None:
        """Close all sockets in a namespace, which they would keep alive."""
        for key in [key for key in self._served if key[0].netns == name]:
            self._close(self._served.pop(key))
        for place in [place for place in self._raw if place.netns == name]:
            self._close(self._raw.pop(place))

    def dial(self, dials: Sequence[Dial]) -> list[Outcome]:
        """What came of each."""
        found: list[Outcome] = []
        for start in range(0, len(dials), _MOST_AT_ONCE):
            found += _Round(self, dials[start : start + _MOST_AT_ONCE]).outcomes()
        return found

    # For the rounds.

    def source_port(self, name: str) -> int:
        return next(self._ports[name])

    def select(self, seconds: float) -> bool:
        """Serve and take answers for a while; False if nothing came."""
        events = self._selector.select(seconds)
        for key, _ in events:
            # An earlier event of this batch may have closed it.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        return bool(events)

    def watch(self, sock: socket.socket, events: int, act: Act) -> None:
        self._on(sock, events, act)

    def unwatch(self, sock: socket.socket) -> None:
        self._close(sock)

    def associate(self, place: Place, port: int, act: Act) -> socket.socket:
        """The socket to send an INIT from; `act` is told of its answer."""
        self._associations[place, port] = act
        return self._raw_at(place)

    def forget(self, place: Place, port: int) -> None:
        self._associations.pop((place, port), None)

    def _raw_at(self, place: Place) -> socket.socket:
        if place not in self._raw:
            sock = netns.inside(place.netns, lambda: _bound(place, socket.SOCK_RAW, 0))
            self._raw[place] = sock
            self._on(sock, selectors.EVENT_READ, lambda: self._take_sctp(place, sock))
        return self._raw[place]

    def _take_sctp(self, place: Place, sock: socket.socket) -> None:
        for data, peer in _received(sock):
            # raw(7): IPv4 hands over the IP header too; IPv6 never does (RFC 3542, section 3).
            payload = data[(data[0] & 15) * 4 :] if place.family == socket.AF_INET else data
            packet = sctp.decode(payload)
            if packet is None:
                continue
            if packet.kind == sctp.INIT:
                if (place, "SCTP", packet.destination_port) in self._served:
                    answer = packet.answer(own_tag=packet.tag ^ 0xFFFF).encode()
                    _send(sock, answer, (peer[0], 0))
            elif packet.verification_tag == packet.destination_port:
                act = self._associations.get((place, packet.destination_port))
                if act is not None:
                    act()

    def _on(self, sock: socket.socket, events: int, act: Act) -> None:
        self._selector.register(sock, events, act)

    def _close(self, sock: socket.socket | None) -> None:
        if sock is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()


class _Round:
    """Dials under way at the same time."""

    def __init__(self, prober: Prober, dials: Sequence[Dial]) -> None:
        self._prober = prober
        self._dials = dials
        self._outcomes: list[Outcome] = ["timed out"] * len(dials)
        self._end: dict[int, Act] = {}
        self._again: dict[int, Act] = {}

    def outcomes(self) -> list[Outcome]:
        by_place = sorted(range(len(self._dials)), key=lambda i: self._dials[i].source.netns)
        for name, group in itertools.groupby(by_place, lambda i: self._dials[i].source.netns):
            indices = list(group)
            netns.inside(name, functools.partial(self._begin_all, indices))
        try:
            self._wait()
        finally:
            for end in tuple(self._end.values()):
                end()
        return self._outcomes

    def _begin_all(self, indices: Sequence[int]) -> None:
        for index in indices:
            self._begin(index)

    def _wait(self) -> None:
        now = time.monotonic()
        resend, deadline = now + _RESEND_SECONDS, now + patience(_ANSWER_SECONDS)
        while any(self._dials[index].allowed for index in self._end):
            self._prober.select(0.05)
            now = time.monotonic()
            if now > deadline:
                break
            if now > resend:
                resend = now + _RESEND_SECONDS
                for again in tuple(self._again.values()):
                    again()
        quiet = time.monotonic() + patience(_SILENCE_SECONDS)
        while self._end and (left := quiet - time.monotonic()) > 0:
            self._prober.select(left)

    def _begin(self, index: int) -> None:
        dial = self._dials[index]
        if dial.protocol == "SCTP":
            self._begin_association(index, dial)
            return
        kind = socket.SOCK_STREAM if dial.protocol == "TCP" else socket.SOCK_DGRAM
        sock = self._client(dial.source, kind)
        self._end[index] = lambda: self._prober.unwatch(sock)
        error = sock.connect_ex((dial.address, dial.port))
        if error not in (0, errno.EINPROGRESS):
            self._done(index, _outcome(error))
            return
        if dial.protocol == "TCP":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self._prober.watch(sock, selectors.EVENT_WRITE, lambda: self._done(index, _of(sock)))
            return
        self._prober.watch(sock, selectors.EVENT_READ, lambda: self._done(index, _of(sock)))
        self._again[index] = lambda: _send(sock, b"case", None)
        self._again[index]()

    def _begin_association(self, index: int, dial: Dial) -> None:
        place, port = dial.source, self._prober.source_port(dial.source.netns)
        sock = self._prober.associate(place, port, lambda: self._done(index, "connected"))
        init = sctp.Packet(port, dial.port, sctp.INIT, tag=port).encode()
        self._end[index] = lambda: self._prober.forget(place, port)
        self._again[index] = lambda: _send(sock, init, (dial.address, 0))
        self._again[index]()

    def _client(self, source: Place, kind: socket.SocketKind) -> socket.socket:
        """A socket at a port of its own; another process of a node may have some of them."""
        while True:
            try:
                return _bound(source, kind, self._prober.source_port(source.netns))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise

    def _done(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._again.pop(index, None)
        self._end.pop(index)()


def _source_ports() -> Iterator[int]:
    first, last = _SOURCE_PORTS
    return itertools.cycle(range(first, last + 1))


def _bound(place: Place, kind: socket.SocketKind, port: int) -> socket.socket:
    protocol = socket.IPPROTO_SCTP if kind == socket.SOCK_RAW else 0
    sock = socket.socket(place.family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((place.address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _accept(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def _echo(server: socket.socket) -> None:
    for data, peer in _received(server):
        _send(server, data, peer)


def _received(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    while True:
        try:
            data, peer = sock.recvfrom(2048)
        except OSError:
            return  # no more, or an ICMP error about an earlier packet
        yield data, peer[:2]


def _send(sock: socket.socket, data: bytes, peer: tuple[str, int] | None) -> None:
    # What stops a packet in the sender's own kernel is reported here; it was not sent, then.
    with contextlib.suppress(OSError):
        sock.send(data) if peer is None else sock.sendto(data, peer)


def _of(sock: socket.socket) -> Outcome:
    return _outcome(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _outcome(error: int) -> Outcome:
    if not error:
        return "connected"
    return "refused" if error in _REFUSALS else "timed out"

"""The sockets: datagrams and streams in, replies out.

Sockets are made by the caller, in whatever namespace they are to be in. A question that the cluster
answers is answered at once, in the order of arrival; only questions for upstream wait for somebody.
"""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from dns.rcode import Rcode

from steppe.net.address import IPAddress
from steppe_lab.dns import message
from steppe_lab.dns.names import Zone
from steppe_lab.dns.records import Records
from steppe_lab.dns.upstream import Upstream
from steppe_lab.dns.zone import Answer, answer

# RFC 7766 6.2.3: "it is RECOMMENDED that the default server application-level idle period be on
# the order of seconds".
IDLE_SECONDS = 10.0
_WAITING_AT_MOST = 200
_TRIES = 20

_log = logging.getLogger(__name__)


class Sockets(msgspec.Struct, frozen=True):
    """Where one address is served: the same port by UDP and TCP."""

    datagrams: socket.socket
    streams: socket.socket


def sockets(addresses: Iterable[IPAddress], port: int) -> list[Sockets]:
    """Sockets bound to these addresses, in the namespace this thread is in.

    Bound one by one: a socket bound to all addresses would answer from the wrong one of them.
    """
    return [_bound(address, port) for address in addresses]


def _bound(address: IPAddress, port: int) -> Sockets:
    """With port 0 any port that is free for both; OSError where there is none to be had."""
    for _ in range(_TRIES if port == 0 else 1):
        try:
            return _bound_once(address, port)
        except OSError as error:
            refusal = error
    raise refusal


def _bound_once(address: IPAddress, port: int) -> Sockets:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.ExitStack() as failing:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        datagrams = failing.enter_context(socket.socket(family, kind))
        datagrams.bind((str(address), port))
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        streams = failing.enter_context(socket.socket(family, kind))
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # With port 0 the kernel has chosen one by now, without a look at who has it by TCP.
        streams.bind(datagrams.getsockname())
        streams.listen(128)
        failing.pop_all()
    return Sockets(datagrams, streams)


class Responder:
    """From the bytes of a query to the bytes of its reply."""

    def __init__(self, zone: Zone, records: Records, upstream: Upstream | None = None) -> None:
        self._zone = zone
        self._records = records
        self._upstream = upstream

    def prepare(self, wire: bytes, *, stream: bool) -> "bytes | Pending | None":
        """The reply, what is left to do for it, or None if there will be none."""
        query = message.read(wire)
        if query is None or isinstance(query, bytes):
            return query
        asked = message.question(query)
        finish = functools.partial(
            message.reply, query, stream=stream, recursion=self._upstream is not None
        )
        if isinstance(asked, Answer):
            return finish(asked)
        if not self._records.complete:
            return finish(Answer(Rcode.SERVFAIL, authoritative=False))
        found = answer(self._zone, self._records, asked)
        if self._upstream is None or found.elsewhere is None:
            return finish(found)
        upstream = self._upstream
        return Pending(finish, lambda: upstream.complete(asked, found))


class Pending(msgspec.Struct, frozen=True):
    """A reply that has to wait for an answer from upstream."""

    finish: Callable[[Answer], bytes]
    ask: Callable[[], Awaitable[Answer]]

    async def reply(self) -> bytes:
        return self.finish(await self.ask())


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder, tasks: asyncio.TaskGroup) -> None:
        self._responder = responder
        self._tasks = tasks
        self._waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        found = self._responder.prepare(data, stream=False)
        if isinstance(found, Pending):
            if self._waiting < _WAITING_AT_MOST:  # more are dropped: clients ask again
                self._waiting += 1
                self._tasks.create_task(self._reply_later(found, addr))
        elif found is not None:
            self._transport.sendto(found, addr)

    async def _reply_later(self, pending: Pending, addr: tuple[Any, ...]) -> None:
        try:
            self._transport.sendto(await pending.reply(), addr)
        except Exception:  # noqa: BLE001  one question must not end the server
            _log.exception("a question for upstream could not be answered")
        finally:
            self._waiting -= 1

    def error_received(self, exc: Exception) -> None:
        _log.debug("a reply could not be delivered: %s", exc)


async def _converse(
    responder: Responder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the queries of one TCP connection until its client closes it or falls silent."""
    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                # RFC 1035 4.2.2: "prefixed with a two byte length field"
                length = int.from_bytes(await reader.readexactly(2), "big")
                wire = await reader.readexactly(length)
            found = responder.prepare(wire, stream=True)
            if found is None:
                return
            reply = await found.reply() if isinstance(found, Pending) else found
            writer.write(len(reply).to_bytes(2, "big") + reply)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass  # however a client ends its connection, it has ended
    finally:
        writer.close()


async def serve(responder: Responder, listening: Iterable[Sockets]) -> None:
    """Answer on all these sockets until cancelled."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as closing:
        async with asyncio.TaskGroup() as tasks:
            for each in listening:
                _log.info("listening on %s, port %d", *each.datagrams.getsockname()[:2])
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(responder, tasks), sock=each.datagrams
                )
                closing.callback(transport.close)
                server = await asyncio.start_server(
                    functools.partial(_converse, responder), sock=each.streams
                )
                tasks.create_task(server.serve_forever())

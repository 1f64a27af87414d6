"""Accepts connections within limits, and leaves clients that do not keep to them.

    socket ──accept──▶ _Connection ──▶ the protocol behind it (aiohttp's, or a stream's)
                 │          └── since when it waits for what
                 └── one too many: the longest silent is left ── all are busy: it is refused

asyncio's own server accepts whatever comes: each connection takes a file descriptor, and a process
that has none left can neither ask its kernel nor answer anybody.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from steppe.serving.limits import Limits
from steppe.serving.sockets import file_limit

log = logging.getLogger("steppe.serving")

SHARE = 8
"""One listener never has more than this part of the files that the process may open."""
AT_ONCE = 8
"""Connections accepted before other work has its turn: who sends its request at once is being
answered some six turns later, and must not be taken for silent before."""
MOST_REFUSED = 8
"""Connections that have been refused, and may still read why."""
LOOK_SECONDS = 1.0
"""How often it is looked for clients whose time is over; less where the limits are shorter."""
NO_FILE_SECONDS = 0.2
"""How long a listener rests when the kernel has no descriptor or memory for it."""
_NO_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CLOSE_SECONDS = 1.0

Make = Callable[[], asyncio.Protocol]


class _Connection(asyncio.Protocol):
    """Stands before a connection's protocol, and notes since when the client owes what."""

    def __init__(self, listener: "Listener", inner: asyncio.Protocol, now: float) -> None:
        self._listener = listener
        self._inner = inner
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.busy = 0
        self.head_since: float | None = now
        self.idle_since = now
        self.stalled_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport!r} is no stream")
        self.transport = transport
        self._listener.know(self, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self.busy and self.head_since is None:
            self.head_since = self._listener.now()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self.stalled_since = self._listener.now()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self.stalled_since = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.forget(self)
        self._inner.connection_lost(exc)

    def begin(self) -> None:
        self.busy += 1
        self.head_since = None

    def end(self) -> None:
        self.busy -= 1
        self.idle_since = self._listener.now()

    @property
    def waits_since(self) -> float:
        return self.idle_since if self.head_since is None else self.head_since

    def is_late(self, now: float, limits: Limits) -> bool:
        if self.stalled_since is not None and now - self.stalled_since > limits.stall:
            return True
        if self.busy:
            return False
        return now - self.waits_since > (limits.idle if self.head_since is None else limits.head)

    def leave(self) -> None:
        """At once, and without a word: who owes us something gets no more of our memory."""
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()
        self._listener.forget(self)


class Listener:
    """Accepts on one or more sockets, all within one share of connections.

    Invariant: `_connections` holds every accepted connection whose descriptor is still open, or
    will be closed in this turn of the loop, and never more of them than `room`.
    """

    def __init__(
        self,
        limits: Limits,
        make: Make,
        *,
        refusal: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`refusal` is sent to a connection too many, while all others are being answered."""
        self._limits = limits
        self._make = make
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusal = refusal
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[socket.socket, None] = {}
        self._connections: dict[_Connection, None] = {}
        self._by_transport: dict[asyncio.BaseTransport, _Connection] = {}
        self._look_again = min(LOOK_SECONDS, limits.head / 2, limits.idle / 2, limits.stall / 2)
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._refused: deque[socket.socket] = deque()

    @property
    def room(self) -> int:
        """How many connections there may be now."""
        return max(1, min(self._limits.connections, file_limit() // SHARE))

    def now(self) -> float:
        return self._loop.time()

    def open(self, listening: socket.socket) -> None:
        """Accept on a socket that listens; it stays the caller's until `shut`."""
        listening.setblocking(False)
        self._sockets[listening] = None
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def shut(self, listening: socket.socket) -> None:
        """Accept no more on a socket, and close it; connections go on."""
        if listening in self._sockets:
            del self._sockets[listening]
            self._loop.remove_reader(listening.fileno())
        listening.close()

    @contextlib.contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request of this connection is worked on: its client owes us nothing."""
        connection = self._by_transport.get(transport) if transport is not None else None
        if connection is None:
            yield
            return
        connection.begin()
        try:
            yield
        finally:
            connection.end()

    def know(self, connection: _Connection, transport: asyncio.BaseTransport) -> None:
        """The connection has its transport."""
        if connection in self._connections:
            self._by_transport[transport] = connection
        else:
            connection.leave()

    def forget(self, connection: _Connection) -> None:
        """The connection is closed."""
        self._connections.pop(connection, None)
        if connection.transport is not None:
            self._by_transport.pop(connection.transport, None)

    def stop(self) -> None:
        """Shut every socket; requests under way go on."""
        for listening in tuple(self._sockets):
            self.shut(listening)

    def close(self) -> None:
        """Shut every socket, and leave every client."""
        self._closing = True
        self.stop()
        for connection in tuple(self._connections):
            connection.leave()
        for refused in self._refused:
            refused.close()
        if self._timer is not None:
            self._timer.cancel()

    async def closed(self) -> None:
        """Return once no connection is being made any more."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        # Connections that were left are closed in the next turn of the loop.
        await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILE:
                    raise
                log.warning("no more connections for now: %s", error.strerror)
                self._rest(listening)
                return
            self._take(accepted)

    def _rest(self, listening: socket.socket) -> None:
        """Accept nothing for a moment: what is silent for longest is left, for its descriptor."""
        self._leave_one()
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(NO_FILE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _take(self, accepted: socket.socket) -> None:
        if len(self._connections) >= self.room and not self._leave_one():
            self._refuse(accepted)
            return
        accepted.setblocking(False)
        connection = _Connection(self, self._make(), self.now())
        self._connections[connection] = None
        task = connection.task = self._loop.create_task(self._connect(connection, accepted))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._connected(connection, accepted))
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_again, self._look)

    def _refuse(self, accepted: socket.socket) -> None:
        """Say why, and close when the client can have read it: what it sends meanwhile is no error.

        Few of these wait at one time.
        """
        accepted.setblocking(False)
        with contextlib.suppress(OSError):
            accepted.send(self._refusal)
            accepted.shutdown(socket.SHUT_WR)
        self._refused.append(accepted)
        while len(self._refused) > MOST_REFUSED:
            self._refused.popleft().close()
        self._loop.call_later(_CLOSE_SECONDS, accepted.close)

    async def _connect(self, connection: _Connection, accepted: socket.socket) -> None:
        handshake: dict[str, Any] = {}
        if self._tls is not None:
            handshake = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self._limits.head,
                "ssl_shutdown_timeout": _CLOSE_SECONDS,
            }
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(lambda: connection, accepted, **handshake)

    def _connected(self, connection: _Connection, accepted: socket.socket) -> None:
        """Close what has no transport: a handshake failed, or was not waited for."""
        if connection.task is not None:
            self._tasks.discard(connection.task)
            connection.task = None
        if connection.transport is None:
            accepted.close()
            self.forget(connection)

    def _leave_one(self) -> bool:
        """Leave the client that has been silent for longest; False if none is."""
        silent = [each for each in self._connections if not each.busy]
        if not silent:
            return False
        min(silent, key=lambda each: each.waits_since).leave()
        return True

    def _look(self) -> None:
        now = self.now()
        for connection in tuple(self._connections):
            if connection.is_late(now, self._limits):
                connection.leave()
        self._timer = None
        if self._connections and not self._closing:
            self._timer = self._loop.call_later(self._look_again, self._look)


@asynccontextmanager
async def accepting(
    limits: Limits, make: Make, *, refusal: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """A listener without a socket yet; at the end its sockets and connections are closed."""
    listener = Listener(limits, make, refusal=refusal, tls=tls)
    try:
        yield listener
    finally:
        listener.close()
        await listener.closed()

"""Asks agents over their sockets, for callers without an event loop (see agent/server.py)."""

import contextlib
import http.client
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from steppe.errors import SteppeError

Document = dict[str, Any]

TIMEOUT_SECONDS = 30.0


class AskError(SteppeError):
    """No agent answered; the message says on which socket, and why."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket at the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def ask(
    path: Path,
    what: str,
    query: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    body: Document | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Document:
    """The agent's answer; the answer to an invalid question has a member `error`."""
    connection = _UnixConnection(path, timeout)
    data = msgspec.json.encode(body) if body is not None else None
    with contextlib.closing(connection), _asking(path, timeout):
        connection.request(method, _target(what, query), data)
        return _decoded(path, connection.getresponse().read())


def follow(
    paths: Sequence[Path], what: str, query: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, Document]]:
    """The lines of these agents as they arrive, until all have ended; AskError if one does not
    answer.
    """
    received: queue.SimpleQueue[tuple[Path, Document | SteppeError | None]] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        for path in paths:
            connection = _UnixConnection(path, None)
            stack.callback(connection.close)
            with _asking(path):
                connection.request("GET", _target(what, query))
            reader = threading.Thread(target=_read, args=(path, connection, received), daemon=True)
            stack.callback(_hang_up, connection.sock, reader)
            reader.start()
        going_on = len(paths)
        while going_on:
            path, found = received.get()
            if found is None:
                going_on -= 1
            elif isinstance(found, SteppeError):
                raise found
            else:
                yield path, found


def _read(
    path: Path,
    connection: _UnixConnection,
    received: "queue.SimpleQueue[tuple[Path, Document | SteppeError | None]]",
) -> None:
    """All lines of one agent, then None."""
    try:
        # If the agent ends, the lines that arrived before are passed on.
        with contextlib.suppress(http.client.IncompleteRead), _asking(path):
            for line in connection.getresponse():
                if line.strip():
                    received.put((path, _decoded(path, line)))
    except AskError as error:
        received.put((path, error))
    received.put((path, None))


def _hang_up(channel: socket.socket, reader: threading.Thread) -> None:
    """End the thread that waits for more lines."""
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)
    reader.join()


def _target(what: str, query: Mapping[str, str] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value}
    return f"/v1/{what}?{urlencode(given)}" if given else f"/v1/{what}"


@contextlib.contextmanager
def _asking(path: Path, timeout: float = 0) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise AskError(f"no agent answers at {path}: no answer in {timeout:.0f} s") from error
    except OSError as error:
        reason = error.strerror or "it broke off"
        raise AskError(f"no agent answers at {path}: {reason}; is the agent running?") from error
    except http.client.HTTPException as error:
        raise AskError(f"the agent at {path} broke off before it had answered") from error


def _decoded(path: Path, answer: bytes) -> Document:
    try:
        return msgspec.json.decode(answer, type=Document)
    except msgspec.MsgspecError as error:
        raise AskError(f"the agent at {path} broke off before it had answered") from error

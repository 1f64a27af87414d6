"""One JSON document each way over a Unix socket: how the CNI plugin asks the agent.

The plugin sends its document and shuts down its write side; the server answers with one document
and closes. It is less than HTTP because the plugin is executed for each pod and imports nothing.
What cannot be read is answered with an error, and spoils nothing for others.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from steppe.agent.shares import CNI_SOCKET
from steppe.agent.unix_socket import Listening, listening
from steppe.document_limits import check_json
from steppe.errors import SteppeError
from steppe.serving.limits import Limits
from steppe.serving.listener import Listener, accepting

LIMIT = CNI_SOCKET.body
"""Bytes of a request; the plugin itself sends no configuration over 1 MiB."""
_CHUNK = 1 << 16
READ_SECONDS = 10.0
"""How long a client may take to send its request."""

Document = dict[str, Any]
Handler = Callable[[Document], Awaitable[Document]]
Refusal = Callable[[str], Document]


class FramingError(SteppeError):
    """No agent answered; the message says on which socket, and why."""


def plain_refusal(message: str) -> Document:
    """The answer to a request that cannot be read."""
    return {"error": message}


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    handler: Handler,
    refusal: Refusal = plain_refusal,
    limits: Limits = CNI_SOCKET,
) -> AsyncIterator[Listening]:
    """Answers requests on this socket; at the end requests under way are seen through."""
    busy: set[asyncio.Task[Any] | None] = set()
    listeners: list[Listener] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The protocol made this task: it is to be waited for, since nobody else does.
        busy.add(asyncio.current_task())
        try:
            # A client that went away wants no answer.
            with contextlib.suppress(OSError):
                answer = await _answer(reader, _busy(listeners[0], writer, handler), refusal)
                writer.write(msgspec.json.encode(answer))
                await writer.drain()
        finally:
            writer.close()
            busy.discard(asyncio.current_task())

    def made() -> asyncio.Protocol:
        reader = asyncio.StreamReader(_CHUNK)
        return asyncio.StreamReaderProtocol(reader, serve)

    too_many = msgspec.json.encode(refusal(f"{limits.connections} others ask; try again"))
    async with accepting(limits, made, refusal=too_many) as listener:
        listeners.append(listener)
        with listening(path) as socket_:
            listener.open(socket_.socket)
            try:
                yield socket_
            finally:
                listener.stop()
        waiting = [task for task in busy if task is not None]
        if waiting:
            await asyncio.wait(waiting)


def _busy(listener: Listener, writer: asyncio.StreamWriter, handler: Handler) -> Handler:
    """The handler, while which the client is known to wait for us."""

    async def handle(request: Document) -> Document:
        with listener.answering(writer.transport):
            return await handler(request)

    return handle


async def _answer(reader: asyncio.StreamReader, handler: Handler, refusal: Refusal) -> Document:
    try:
        async with asyncio.timeout(READ_SECONDS):
            request = await _read(reader)
    except TimeoutError:
        return refusal(f"no whole request came in {READ_SECONDS:.0f} s")
    except (ValueError, msgspec.MsgspecError) as error:
        return refusal(f"the request cannot be read: {error}")
    return await handler(request)


async def _read(reader: asyncio.StreamReader) -> Document:
    parts: list[bytes] = []
    size = 0
    while data := await reader.read(_CHUNK):
        parts.append(data)
        size += len(data)
        if size > LIMIT:
            raise ValueError(f"it is larger than {LIMIT} bytes")
    whole = b"".join(parts)
    check_json(whole)
    return msgspec.json.decode(whole, type=Document)


def call(path: Path, request: Document, timeout: float = 30.0) -> Document:
    """The agent's answer, for callers without an event loop."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            channel.connect(os.fspath(path))
            channel.sendall(msgspec.json.encode(request))
            channel.shutdown(socket.SHUT_WR)
            parts: list[bytes] = []
            while data := channel.recv(1 << 16):
                parts.append(data)
    except OSError as error:
        reason = error.strerror or f"no answer in {timeout:.0f} s"
        raise FramingError(
            f"no agent answers at {path}: {reason}; is the agent running?"
        ) from error
    try:
        return msgspec.json.decode(b"".join(parts), type=Document)
    except msgspec.MsgspecError as error:
        raise FramingError(f"the agent at {path} broke off before it had answered") from error

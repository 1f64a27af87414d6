"""One JSON document each way over a Unix socket: how the CNI plugin and people ask the agent.

The client sends its document and shuts down its write side; the server answers with one document
and closes, or with a line for each of many until the client is gone. Sockets belong to root alone.
What cannot be read is answered with an error, and spoils nothing for others.
"""

import asyncio
import contextlib
import os
import selectors
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from steppe.errors import SteppeError

LIMIT = 4 << 20
"""Bytes of a request; the plugin itself sends no configuration over 1 MiB."""
READ_SECONDS = 10.0
"""How long a client may take to send its request."""

Document = dict[str, Any]
Stream = AsyncGenerator[Document | None, None]
"""Documents as they come up; None now and then, for only who writes finds the client gone."""
Handler = Callable[[Document], Awaitable[Document | Stream]]
Refusal = Callable[[str], Document]


class RpcError(SteppeError):
    """No agent answered; the message says on which socket, and why."""


def plain_refusal(message: str) -> Document:
    """The answer to a request that cannot be read."""
    return {"error": message}


@contextlib.asynccontextmanager
async def serving(
    path: Path, handler: Handler, refusal: Refusal = plain_refusal
) -> AsyncIterator[None]:
    """Answers requests on this socket; at the end streams stop, and other requests under way are
    seen through.
    """
    listener, identity = _listener(path)
    busy: set[asyncio.Task[Any] | None] = set()
    streaming: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The stream server made this task: it is to be waited for, since close() does not.
        busy.add(asyncio.current_task())
        try:
            # A client that went away wants no answer.
            with contextlib.suppress(OSError):
                answer = await _answer(reader, handler, refusal)
                if isinstance(answer, dict):
                    writer.write(msgspec.json.encode(answer))
                    await writer.drain()
                else:
                    streaming.add(asyncio.current_task())
                    await _stream(writer, answer)
        finally:
            writer.close()
            streaming.discard(asyncio.current_task())
            busy.discard(asyncio.current_task())

    server = await asyncio.start_unix_server(serve, sock=listener, limit=LIMIT)
    try:
        yield
    finally:
        server.close()
        _remove(path, identity)
        for task in streaming:
            if task is not None:
                task.cancel()
        waiting = [task for task in busy if task is not None]
        if waiting:
            await asyncio.wait(waiting)


async def _answer(
    reader: asyncio.StreamReader, handler: Handler, refusal: Refusal
) -> Document | Stream:
    try:
        async with asyncio.timeout(READ_SECONDS):
            request = await _read(reader)
    except TimeoutError:
        return refusal(f"no whole request came in {READ_SECONDS:.0f} s")
    except (ValueError, msgspec.MsgspecError) as error:
        return refusal(f"the request cannot be read: {error}")
    return await handler(request)


async def _stream(writer: asyncio.StreamWriter, answers: Stream) -> None:
    async with contextlib.aclosing(answers):
        async for answer in answers:
            writer.write(msgspec.json.encode(answer) + b"\n" if answer is not None else b"\n")
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Document:
    parts: list[bytes] = []
    size = 0
    while data := await reader.read(1 << 16):
        parts.append(data)
        size += len(data)
        if size > LIMIT:
            raise ValueError(f"it is larger than {LIMIT} bytes")
    return msgspec.json.decode(b"".join(parts), type=Document)


def _listener(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    """A socket at this path, taken over in one step from an agent that may be dead or alive."""
    new = path.with_name(f"{path.name}.new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        listener.bind(str(new))
        # Nobody can connect before listen(2), so there is no moment without these permissions.
        new.chmod(0o600)
        listener.listen(128)
        new.rename(path)
        stat = path.stat()
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise RpcError(
            f"cannot listen on {path}: {reason}; give --state-dir a folder of root's, with a "
            "path of less than 90 characters"
        ) from error
    return listener, (stat.st_dev, stat.st_ino)


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Take the socket's name away, unless another agent has taken it over."""
    with contextlib.suppress(FileNotFoundError):
        stat = path.stat()
        if (stat.st_dev, stat.st_ino) == identity:
            path.unlink()


def call(path: Path, request: Document, timeout: float = 30.0) -> Document:
    """The agent's answer, for callers without an event loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, _asking(path, timeout):
        channel.settimeout(timeout)
        _send(channel, path, request)
        parts: list[bytes] = []
        while data := channel.recv(1 << 16):
            parts.append(data)
    return _decoded(path, b"".join(parts))


def follow(paths: Sequence[Path], request: Document) -> Iterator[tuple[Path, Document]]:
    """What these agents tell, as they tell it, until all have ended."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        begun: dict[Path, bytes] = {}
        for path in paths:
            channel = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            with _asking(path):
                _send(channel, path, request)
            selector.register(channel, selectors.EVENT_READ, path)
            begun[path] = b""
        while selector.get_map():
            for key, _ in selector.select():
                path = key.data
                with _asking(path):
                    data = os.read(key.fd, 1 << 16)
                *lines, begun[path] = (begun[path] + data).split(b"\n")
                if not data:
                    selector.unregister(key.fileobj)
                    # What refuses a request is one document without a line's end.
                    lines.append(begun[path])
                yield from ((path, _decoded(path, line)) for line in lines if line)


@contextlib.contextmanager
def _asking(path: Path, timeout: float = 0) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or f"no answer in {timeout:.0f} s"
        raise RpcError(f"no agent answers at {path}: {reason}; is the agent running?") from error


def _send(channel: socket.socket, path: Path, request: Document) -> None:
    channel.connect(os.fspath(path))
    channel.sendall(msgspec.json.encode(request))
    channel.shutdown(socket.SHUT_WR)


def _decoded(path: Path, answer: bytes) -> Document:
    try:
        return msgspec.json.decode(answer, type=Document)
    except msgspec.MsgspecError as error:
        raise RpcError(f"the agent at {path} broke off before it had answered") from error

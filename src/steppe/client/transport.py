"""A connection's own matters: when it counts as dead, and what is said of its errors."""

import contextlib
import socket
import traceback
from collections.abc import Iterator

import aiohttp

from steppe.client.errors import UnreachableError


def keepalive(sock: socket.socket) -> None:
    """Detect within 30 seconds that the other machine no longer answers."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


@contextlib.contextmanager
def transport_errors(what: str) -> Iterator[None]:
    """Aiohttp's errors become UnreachableError, with what was asked."""
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(f"{what}: no answer in time") from error
    except aiohttp.ClientError as error:
        _let_go(error)
        raise UnreachableError(f"{what}: {_said(error)}") from error


def _said(error: aiohttp.ClientError) -> str:
    """What went wrong, in words that say it; aiohttp's own name how it noticed.

    It speaks of a "TransferEncodingError: 400" where a server has broken off in mid-answer, and
    of "ssl:default [None]" where a relay has taken a connection and closed it again.
    """
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke off in mid-answer"
    if isinstance(error, aiohttp.ClientConnectorError) and not error.os_error.strerror:
        return f"{error.host}:{error.port} takes the connection and closes it again"
    return str(error)


def _let_go(error: BaseException | None) -> None:
    """Clear the local variables of the frames in an error's traceback.

    The traceback of a failed TLS connection and a future form a reference cycle, which keeps the
    connection's buffer of 256 KiB (asyncio.sslproto). While the server is unreachable, each try
    adds one.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__

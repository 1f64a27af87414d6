"""The agent's Unix sockets: only for root, and taken over in one step from another agent."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec

from steppe.agent.files import cure
from steppe.errors import SteppeError

LOOK_SECONDS = 2.0
"""Seconds between two checks that the socket's file still exists."""
_BACKLOG = 128
_FOLDER = "give --state-dir a folder of root's, with a path of less than 90 characters"


class SocketError(SteppeError):
    """The socket cannot be made, or its file was removed."""


class Listening(msgspec.Struct, frozen=True):
    """A listening socket at a path; `identity` is the file's device and inode."""

    path: Path
    socket: socket.socket
    identity: tuple[int, int]

    async def until_gone(self) -> None:
        """Never returns; SocketError when the path no longer exists, so nobody can connect.

        Another agent's socket at this path is not an error: it has taken over.
        """
        # With inotify, every folder up to the root would have to be watched.
        while self.path.exists():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        raise SocketError(f"{self.path} is gone: somebody has removed it; it is made anew")


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Listening]:
    """A socket at this path; at the end it is removed if it is still ours.

    SocketError, with a cure, if it cannot be made.
    """
    made = _made(path)
    try:
        yield made
    finally:
        made.socket.close()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if _identity(path) == made.identity:
                path.unlink()


def _made(path: Path) -> Listening:
    new = path.with_name(f"{path.name}.new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        listener.bind(str(new))
        # Nobody can connect before listen(2), so these permissions are always in force.
        new.chmod(0o600)
        listener.listen(_BACKLOG)
        new.rename(path)
        identity = _identity(path)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        remedy = cure(error, _FOLDER)
        raise SocketError(f"cannot listen on {path}: {reason}; {remedy}") from error
    return Listening(path, listener, identity)


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino

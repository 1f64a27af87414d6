"""Other network namespaces: open one, do something inside, ask for its number.

setns(2) moves the calling thread only, so whatever must happen inside another namespace happens
in a thread that ends with it; the process stays where it is. A socket belongs for good to the
namespace that it was made in, so one such call gives a socket that the caller can go on using.
(`os.setns` came with Python 3.12; until then it is ctypes.)
"""

import contextlib
import ctypes
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from steppe.errors import SteppeError

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


class NetnsError(SteppeError):
    """A path is no network namespace, or the namespace cannot be entered."""


@contextlib.contextmanager
def open_netns(path: str) -> Iterator[int]:
    """A file descriptor for the namespace at this path, such as /run/netns/NAME."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise NetnsError(f"network namespace {path}: {error}") from error
    try:
        if not _is_netns(fd):
            raise NetnsError(f"{path} is not a network namespace")
        yield fd
    finally:
        os.close(fd)


def _is_netns(fd: int) -> bool:
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False  # ENOTTY: no namespace at all


def call_in(netns_fd: int, work: Callable[[], _T]) -> _T:
    """The result of work done inside the namespace; its exception, if it raises one."""
    return _call(lambda: _libc.setns(netns_fd, _CLONE_NEWNET), "enter the", work)


def call_in_new(work: Callable[[], _T]) -> _T:
    """The same inside a new namespace, which is gone when the work has closed its sockets."""
    return _call(lambda: _libc.unshare(_CLONE_NEWNET), "make a", work)


def _call(move: Callable[[], int], verb: str, work: Callable[[], _T]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            if move() != 0:
                reason = os.strerror(ctypes.get_errno())
                raise NetnsError(f"cannot {verb} network namespace: {reason}")  # noqa: TRY301
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

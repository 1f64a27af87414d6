"""Other network namespaces: open one, do something inside, ask for its number.

setns(2) moves only the calling thread, so work inside another namespace is done in a thread of its
own that ends after it; the rest of the process stays in its namespace. A socket always belongs to
the namespace in which it was made, so such a call can return a socket for further use. (`os.setns`
needs Python 3.12; until then ctypes is used.) No other module calls setns or unshare for a network
namespace.
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
    """A path is no network namespace, or one cannot be made, entered, named or removed."""


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

    def body() -> _T:
        enter(netns_fd)
        return work()

    return in_thread(body)


def call_in_new(work: Callable[[], _T]) -> _T:
    """The same inside a new namespace, which ends when the work has closed its sockets."""

    def body() -> _T:
        enter_new()
        return work()

    return in_thread(body)


def in_thread(work: Callable[[], _T]) -> _T:
    """Do the work in a thread of its own, which may change its namespace and then ends."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(netns_fd: int, what: str = "network namespace") -> None:
    """Move the calling thread into a namespace, for good unless it moves again."""
    _check(_libc.setns(netns_fd, _CLONE_NEWNET), f"enter {what}")


def enter_new(what: str = "network namespace") -> None:
    """Move the calling thread into a new namespace."""
    _check(_libc.unshare(_CLONE_NEWNET), f"make {what}")


def current() -> int:
    """A file descriptor of the namespace that the calling thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise NetnsError(f"{what}: {os.strerror(ctypes.get_errno())}")

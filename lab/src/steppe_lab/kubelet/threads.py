"""One pool of threads that work inside network namespaces.

setns(2) moves only the calling thread, so the event loop never leaves the machine's own namespace:
whatever must happen elsewhere (a socket, a plugin's process) is a short function run here.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from steppe.drivers.netlink.netns import NetnsError, current, enter
from steppe_lab.netns import NETNS_DIR

_T = TypeVar("_T")


class NamespaceThreads:
    """Runs functions on threads that are, for just that long, in a given network namespace."""

    def __init__(self, size: int = 32) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="netns")
        self._home = current()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        os.close(self._home)

    async def run(self, netns: str, work: Callable[[], _T]) -> _T:
        """The result of `work`, done inside the namespace of that name or path."""
        return await self.plain(lambda: self._inside(netns, work))

    async def plain(self, work: Callable[[], _T]) -> _T:
        """The result of blocking `work` that needs no namespace.

        A thread cannot be stopped: a cancelled caller waits until the work is done, so that
        whoever cleans up after it finds all that it made.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            future.exception()  # the caller was cancelled: mark the error as seen
            raise

    def _inside(self, netns: str, work: Callable[[], _T]) -> _T:
        try:
            fd = os.open(netns_path(netns), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NetnsError(f"network namespace {netns}: {error.strerror}") from error
        try:
            enter(fd, f"network namespace {netns}")
        finally:
            os.close(fd)
        try:
            return work()
        finally:
            # A thread that could not return would do the next node's work in this one's
            # namespace. The kernel refuses only for lack of privilege, which we had a moment ago.
            enter(self._home, "the lab's own network namespace")


def netns_path(netns: str) -> Path:
    """Where the file of a namespace is; an absolute path stands for itself."""
    return NETNS_DIR / netns

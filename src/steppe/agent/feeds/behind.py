"""Goes on with the compiler's long work, a slice at a time, so that others have their turn."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from steppe.compile.slices import Pace
from steppe.state.node import Key

SLICE_SECONDS = 0.02
"""How long such work holds the event loop at a time, and a step more."""


class Sliced(Protocol):
    """A part of the compiler whose long work waits (compile/policy_tables, service_tables)."""

    @property
    def waiting(self) -> bool: ...
    def work_in_slices(self, behind: Callable[[], None], pace: Pace | None = None) -> None: ...
    def more(self) -> frozenset[Key]: ...


def timed() -> Callable[[int], bool]:
    """A slice by processor time: single steps of large objects take 20 µs to 20 ms."""
    end = time.thread_time() + SLICE_SECONDS
    return lambda _: time.thread_time() > end


class Behind:
    """The work of one part of the compiler that waits."""

    def __init__(self, part: Sliced) -> None:
        self._part = part
        self._wake = asyncio.Event()
        self.set_pace(timed)

    def set_pace(self, pace: Pace) -> None:
        """How long slices are from now on."""
        self._part.work_in_slices(self._wake.set, pace)

    async def work(self, touch: Callable[[Iterable[Key]], None]) -> None:
        """Go on with it until cancelled; `touch` is told the keys of what is done."""
        while True:
            await self._wake.wait()
            while self._part.waiting:
                touched = self._part.more()
                if touched or not self._part.waiting:
                    touch(touched)
                await asyncio.sleep(0)
            self._wake.clear()

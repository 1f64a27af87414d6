"""Goes on with the compiler's long work, a slice at a time, so that others have their turn."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from steppe.agent.hurry import Hurry
from steppe.compile.slices import Pace
from steppe.state.node import Key

SLICE_SECONDS = 0.02
"""How long such work holds the event loop at a time, and a step more."""
SHORT_SECONDS, PAUSE_SECONDS = 0.002, 0.004
"""The same while somebody is in a hurry, and for how long nothing is done after it."""


class Sliced(Protocol):
    """A part of the compiler whose long work waits (compile/policy_tables, service_tables)."""

    @property
    def waiting(self) -> bool: ...
    def work_in_slices(self, behind: Callable[[], None], pace: Pace | None = None) -> None: ...
    def more(self) -> frozenset[Key]: ...


class Behind:
    """The work of one part of the compiler that waits.

    An attachment goes through the event loop some ten times, and through a thread that needs the
    interpreter's lock. While there is one, slices are short and there are pauses between them.
    """

    def __init__(
        self,
        part: Sliced,
        hurry: Hurry | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._part = part
        self._hurry = hurry or Hurry()
        self._pause = pause
        self._wake = asyncio.Event()
        self.set_pace(self._timed)

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
                await self._pause(PAUSE_SECONDS if self._hurry else 0)
            self._wake.clear()

    def _timed(self) -> Callable[[int], bool]:
        """A slice by processor time: single steps of large objects take 20 µs to 20 ms."""
        end = time.thread_time() + (SHORT_SECONDS if self._hurry else SLICE_SECONDS)
        return lambda _: time.thread_time() > end

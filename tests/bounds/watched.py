"""`python watched.py FILE ARGUMENTS…`: an agent whose event loop writes its long turns to FILE.

A line for each: the processor time of the loop's thread in seconds, a tab, and what it called. The
clock would count what other processes do meanwhile.
"""

import asyncio
import sys
import time
from asyncio import Handle, SelectorEventLoop, TimerHandle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steppe.agent.__main__ import main

LONG_SECONDS = 0.02


class Watched(SelectorEventLoop):
    """Everything that it calls is timed."""

    def __init__(self, told: Path) -> None:
        super().__init__()
        self._told = told.open("a", buffering=1)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:
        return super().call_soon(self._timed, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> TimerHandle:
        return super().call_at(when, self._timed, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Handle:
        return super().call_soon_threadsafe(self._timed, callback, *args, context=context)

    def _timed(self, callback: Callable[..., Any], *args: Any) -> None:
        began = time.thread_time()
        callback(*args)
        took = time.thread_time() - began
        if took > LONG_SECONDS:
            self._told.write(f"{took:.3f}\t{_name(callback)}\n")


def _name(callback: Callable[..., Any]) -> str:
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"{task.get_name()} {task.get_coro().__qualname__}"
    return getattr(callback, "__qualname__", repr(callback))


class Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, told: Path) -> None:
        super().__init__()
        self._told = told

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return Watched(self._told)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(Policy(Path(sys.argv[1])))
    sys.exit(main(sys.argv[2:]))

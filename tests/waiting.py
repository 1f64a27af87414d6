"""Wait for a condition, never for a time: the tests' only clock.

STEPPE_TIME_SCALE (1) multiplies every patience: `make test-vm` sets it, for its kernel runs under
software emulation. A patience bounds how long a failing test takes; passing ones end at once.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

SCALE = float(os.environ.get("STEPPE_TIME_SCALE", "1"))
_PAUSE = 0.02


def patience(seconds: float) -> float:
    """What `seconds` on an ordinary machine are on this one."""
    return seconds * SCALE


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return once the condition holds; fail the test, saying what was awaited, if it never does."""
    end = time.monotonic() + patience(seconds)
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience(seconds):.0f} s: {what}")
        time.sleep(_PAUSE)


async def until_async(
    condition: Callable[[], Awaitable[object]], seconds: float, what: str
) -> None:
    """As `until`, for a condition that is awaited."""
    end = time.monotonic() + patience(seconds)
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience(seconds):.0f} s: {what}")
        await asyncio.sleep(_PAUSE)

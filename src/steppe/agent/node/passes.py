"""Counts the passes over the kernel, for tasks that wait until one has ended.

keeper ──ended──▶ Passes ◀──wait── pods that need their policies, metrics, the installation
"""

import asyncio
from collections.abc import Callable


class Passes:
    """Counts the passes that have ended."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._count = 0

    async def ended(self) -> None:
        """A pass has ended: all changes that were wanted when it began have been tried."""
        async with self._condition:
            self._count += 1
            self._condition.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition is true, tested now and after each pass."""
        async with self._condition:
            await self._condition.wait_for(condition)

    async def next(self, seen: int) -> int:
        """Wait until more than `seen` passes have ended; returns their number."""
        await self.until(lambda: self._count > seen)
        return self._count

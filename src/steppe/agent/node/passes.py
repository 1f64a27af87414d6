"""The passes over the kernel, for those who wait until one has ended.

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
        """All that was asked for so far has been tried."""
        async with self._condition:
            self._count += 1
            self._condition.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once this holds after a pass, or at once if it holds already."""
        async with self._condition:
            await self._condition.wait_for(condition)

    async def next(self, seen: int) -> int:
        """Wait until more passes than those seen have ended; how many there have been."""
        await self.until(lambda: self._count > seen)
        return self._count

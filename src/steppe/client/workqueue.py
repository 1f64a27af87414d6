"""A queue of keys to reconcile: level-triggered, each key once; failed keys are retried later.

A key that is added while a worker has it is given out once more afterwards, so no change is missed
and no two workers have the same key.
"""

import asyncio
import heapq
import logging
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from steppe.client.errors import ApiError
from steppe.client.informer import Backoff
from steppe.errors import SteppeError

K = TypeVar("K", bound=Hashable)
log = logging.getLogger(__name__)


class Workqueue(Generic[K]):
    """Keys that wait to be reconciled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready: dict[K, None] = {}  # an ordered set
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._backoffs: dict[K, Backoff] = {}
        self._wake = asyncio.Event()
        self._counter = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._active) + len(self._again)

    def add(self, key: K) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Add a key after this time; of several times for a key the earliest counts."""
        due = time.monotonic() + seconds
        if due >= self._due.get(key, math.inf):
            return
        self._due[key] = due
        self._counter += 1  # keys need not be comparable
        heapq.heappush(self._later, (due, self._counter, key))
        self._wake.set()

    async def run(self, reconcile: Callable[[K], Awaitable[None]], workers: int = 4) -> None:
        """Reconcile until cancelled; a failed key is retried with growing delays."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile))

    async def _work(self, reconcile: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self._next()
            try:
                await reconcile(key)
            except SteppeError as error:
                self._failed(key, error)
            except Exception:
                # A task boundary: a bug with one key must not stop the work on other keys.
                log.exception("%s: %s: a bug; trying again later", self.name, key)
                self.add_after(key, self._backoffs.setdefault(key, Backoff()).next())
            else:
                self._backoffs.pop(key, None)
            finally:
                self._active.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _failed(self, key: K, error: SteppeError) -> None:
        stale = isinstance(error, ApiError) and (error.status == 409 or error.not_found)
        level = logging.DEBUG if stale else logging.WARNING
        log.log(level, "%s: %s: trying again later: %s", self.name, key, error)
        backoff = self._backoffs.setdefault(key, Backoff(first=0.05))
        self.add_after(key, backoff.next())

    async def _next(self) -> K:
        while True:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                due, _, late = heapq.heappop(self._later)
                if self._due.get(late) == due:
                    del self._due[late]
                    self.add(late)
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._active.add(key)
                return key
            self._wake.clear()
            delay = self._later[0][0] - now if self._later else None
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

"""Keeps one kernel in step with the compiler's tables.

    touched keys ──▶ wake ──▶ sync: plan, apply, settle ──▶ kernel
    kernel events ─▶ observe ──▲                              │
    full readings ─▶ replace ──┴──────────────────────────────┘

Everything but `apply` and `read` runs in the event loop's thread, so nothing needs a lock but
the kernel itself: one reader or writer of it at a time.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from steppe.agent.health.metrics import Metrics
from steppe.agent.log import line
from steppe.agent.node.change_log import NAMED_CHANGES, tell
from steppe.agent.node.heap import settle_heap
from steppe.agent.node.reconciler import MANY_KEYS, Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.driver import Driver, Fault
from steppe.drivers.events import Event, Lost, Seen
from steppe.kube.objects import Workload
from steppe.plan.diff import Change
from steppe.state.node import Key, Value
from steppe.state.sysctl import SysctlKey

log = logging.getLogger("steppe.agent")

COALESCE_SECONDS = 0.03
"""How long the kernel's notifications gather: a link that goes is announced bit by bit, and to
repair what is still going away would fail."""
RETRY_SECONDS = 1.0
"""How long what the kernel refused waits for its next try."""


class Owner(Protocol):
    """Who is told of what happens to the kernel."""

    @property
    def trusted(self) -> bool:
        """Whether all is known that the kernel depends on; half the truth would take away."""

    def applied(self, keys: Collection[Key]) -> None:
        """The kernel now holds these as they shall be, but for those it refused."""

    async def lost(self, workload: Workload) -> None:
        """A pod's link is not there any more."""

    async def in_step(self) -> None:
        """All that was asked for so far has been tried."""


class Keeper:
    """One kernel, what it holds, and what of that has to change."""

    def __init__(
        self,
        compiler: NodeCompiler,
        driver: Driver,
        metrics: Metrics,
        owner: Owner,
        *,
        repair: bool = True,
    ) -> None:
        self._compiler = compiler
        self._driver = driver
        self._metrics = metrics
        self._owner = owner
        self._repairs = repair
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._retrying = False
        self._busy_since: float | None = None
        self._unread = False
        """The kernel's tables are not known, for they could not be read or changed as a whole."""
        self.reconciler = Reconciler(compiler)

    @property
    def busy(self) -> float:
        """For how many seconds the pass under way has been going on; 0 where there is none."""
        return time.monotonic() - self._busy_since if self._busy_since is not None else 0.0

    def touch(self, keys: Iterable[Key]) -> None:
        """Entries may have changed: compare and apply them soon."""
        self.reconciler.touch(keys)
        self._wake.set()

    async def run(self) -> None:
        """Whenever something may differ: plan, apply, remember what failed.

        A SteppeError ends it, such as for tables that are never at rest while they are read. It
        may be run again: it then begins by reading the kernel, and no change is forgotten.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._owner.trusted:
                self._busy_since = time.monotonic()
                try:
                    await self._pass()
                finally:
                    self._busy_since = None
                if self.reconciler.compared > MANY_KEYS:
                    settle_heap(grown=self.reconciler.planned > MANY_KEYS)

    async def follow(self, heard: AsyncGenerator[Sequence[Event], None]) -> None:
        """Note what the kernel says of itself; needs the loop of `run` beside it.

        It may be run again after an error: the events that it has not noted by then are made up
        for by reading the kernel.
        """
        async with contextlib.aclosing(heard):
            async for events in heard:
                if not events:
                    continue  # our own transactions are heard as nothing
                with self._read_anew_after_errors():
                    await self._note(events if self._repairs else ())
                asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._wake.set)

    async def read(self) -> None:
        """Make what the tables stand on, and read all that the kernel holds of ours.

        The next pass compares every key. A TablesChangedError says that they would not keep still.
        """
        async with self._lock:
            self.reconciler.replace_actual(await asyncio.to_thread(self._ensured))
            self._unread = False

    async def read_settings(self) -> None:
        """Read the settings that matter by now, for the rest is known; then compare every key."""
        async with self._lock:
            settings = await asyncio.to_thread(
                self._driver.read, self._wanted(), frozenset((SysctlKey.table,))
            )
            self.reconciler.replace_actual({**self.reconciler.actual, **settings})

    async def look(self) -> dict[Key, Value]:
        """All that the kernel holds of ours, read anew; nothing is changed."""
        async with self._lock:
            return await asyncio.to_thread(self._look)

    async def check(self) -> tuple[Fault, ...]:
        """What the tables stand on, such as nftables' rules, that is not as it must be."""
        async with self._lock:
            return await asyncio.to_thread(self._driver.check)

    async def repair(self, seen: dict[Key, Value]) -> None:
        """Make a kernel that holds `seen` agree, at once."""
        async with self._lock:
            await asyncio.to_thread(self._ensure)
        with self._read_anew_after_errors():
            self.reconciler.replace_actual(seen)
            await self._sync()

    async def _pass(self) -> None:
        with self._read_anew_after_errors():
            if self._unread:
                await self.read()
            await self._sync()

    @contextlib.contextmanager
    def _read_anew_after_errors(self) -> Iterator[None]:
        """Work that, should it not come to its end, leaves the kernel's tables unknown."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._unread = True
                self._wake.set()

    async def _sync(self) -> None:
        async with self._lock:
            plan = self.reconciler.plan()
            if plan.changes:
                await self._apply(plan.changes)
        for workload in plan.lost:
            await self._owner.lost(workload)
        await self._owner.in_step()
        if self.reconciler.failed and not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)

    async def _apply(self, changes: tuple[Change, ...]) -> None:
        # Asked now: what is asked for may be another thing once the kernel has answered.
        named = changes if len(changes) <= NAMED_CHANGES else ()
        because = {change.key: self.reconciler.because(change) for change in named}
        with self._metrics.apply_seconds.time():
            failures = await asyncio.to_thread(self._driver.apply, changes)
        because.update((f.change.key, self.reconciler.because(f.change)) for f in failures)
        before = dict(self.reconciler.failed)
        self.reconciler.settle(changes, failures)
        tell(changes, because, self.reconciler.failed, self._metrics, before)
        self._owner.applied([change.key for change in changes])

    def _retry(self) -> None:
        self._retrying = False
        self.reconciler.retry()
        self._wake.set()

    async def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Seen):
                self._observe(event)
            elif event.link:
                self.reconciler.lose(event.link)
            else:
                await self._read_again(event)

    def _observe(self, event: Seen) -> None:
        if event.foreign and event.key not in self._compiler.state:
            return
        if self.reconciler.observe(event.key, event.value) and self._owner.trusted:
            self._metrics.repairs.labels(event.key.table).inc()

    async def _read_again(self, event: Lost) -> None:
        log.info(line("reading-again", why=event.reason))
        await self.read()

    def _ensure(self) -> None:
        for fault in self._driver.ensure():
            log.info(line("made-right", what=fault.what, was=fault.how))

    def _ensured(self) -> dict[Key, Value]:
        self._ensure()
        return self._look()

    def _look(self) -> dict[Key, Value]:
        return self._driver.read(self._wanted())

    def _wanted(self) -> tuple[Key, ...]:
        return tuple(self._compiler.state)

"""Keeps one kernel in step with the compiler's tables.

    touched keys ──▶ wake ──▶ sync: plan, apply, settle ──▶ kernel
    kernel events ─▶ observe ──▲                              │
    full readings ─▶ replace ──┴──────────────────────────────┘

Everything but `apply` and `read` runs in the event loop's thread, so nothing needs a lock but
the kernel itself: one reader or writer of it at a time.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Protocol

from steppe.agent.health.metrics import Metrics
from steppe.agent.log import line
from steppe.agent.node.change_log import NAMED_CHANGES, tell
from steppe.agent.node.heap import settle_heap
from steppe.agent.node.reconciler import MANY_KEYS, Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.watch import Event, Lost, Seen
from steppe.kube.objects import Workload
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
        kernel: KernelDriver,
        nft: Nft,
        metrics: Metrics,
        owner: Owner,
        *,
        repair: bool = True,
    ) -> None:
        self._compiler = compiler
        self._kernel = kernel
        self._nft = nft
        self._metrics = metrics
        self._owner = owner
        self._repairs = repair
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._retrying = False
        self._busy_since: float | None = None
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
        """Whenever something may differ: plan, apply, remember what failed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._owner.trusted:
                self._busy_since = time.monotonic()
                await self._sync()
                self._busy_since = None
                if self.reconciler.compared > MANY_KEYS:
                    settle_heap(grown=self.reconciler.planned > MANY_KEYS)

    async def follow(self, heard: AsyncIterator[Sequence[Event]]) -> None:
        """Note what the kernel says of itself; needs the loop of `run` beside it."""
        async for events in heard:
            for event in events if self._repairs else ():
                if isinstance(event, Seen):
                    self._observe(event)
                elif event.link:
                    self.reconciler.lose(event.link)
                else:
                    await self._read_again(event)
            if events:  # our own transactions are heard as nothing
                asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._wake.set)

    async def read(self) -> None:
        """Read all that the kernel holds of ours; the next sync compares every key."""
        async with self._lock:
            self.reconciler.replace_actual(await asyncio.to_thread(self._ensured))

    async def read_settings(self) -> None:
        """Read the settings that matter by now, for the rest is known; then compare every key."""
        async with self._lock:
            settings = await asyncio.to_thread(self._kernel.read_settings, self._settings())
            self.reconciler.replace_actual({**self.reconciler.actual, **settings})

    async def look(self) -> dict[Key, Value]:
        """All that the kernel holds of ours, read anew."""
        async with self._lock:
            return await asyncio.to_thread(self._ensured if self._repairs else self._look)

    async def repair(self, seen: dict[Key, Value]) -> None:
        """Make a kernel that holds `seen` agree, at once."""
        async with self._lock:
            await asyncio.to_thread(self._ensure)
        self.reconciler.replace_actual(seen)
        await self._sync()

    async def _sync(self) -> None:
        async with self._lock:
            plan = self.reconciler.plan()
            if plan.changes:
                # Asked now: what is asked for may be another thing once the kernel has answered.
                named = plan.changes if len(plan.changes) <= NAMED_CHANGES else ()
                because = {c.key: self.reconciler.because(c) for c in named}
                with self._metrics.apply_seconds.time():
                    failures = await asyncio.to_thread(self._kernel.apply, plan.changes)
                because.update((f.change.key, self.reconciler.because(f.change)) for f in failures)
                self.reconciler.settle(plan.changes, failures)
                tell(plan.changes, because, self.reconciler.failed, self._metrics)
                self._owner.applied([change.key for change in plan.changes])
        for workload in plan.lost:
            await self._owner.lost(workload)
        await self._owner.in_step()
        if self.reconciler.failed and not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self.reconciler.retry()
        self._wake.set()

    def _observe(self, event: Seen) -> None:
        if event.foreign and event.key not in self._compiler.state:
            return
        if self.reconciler.observe(event.key, event.value) and self._owner.trusted:
            self._metrics.repairs.labels(event.key.table).inc()

    async def _read_again(self, event: Lost) -> None:
        log.info(line("reading-again", why=event.reason))
        await self.read()

    def _ensure(self) -> None:
        if self._nft.ensure():
            log.info(line("ruleset", table="inet steppe", action="made as it shall be"))

    def _ensured(self) -> dict[Key, Value]:
        self._ensure()
        return self._look()

    def _look(self) -> dict[Key, Value]:
        return self._kernel.read(self._settings())

    def _settings(self) -> list[SysctlKey]:
        settings = self._compiler.state.only(SysctlKey.table.__eq__)
        return [key for key in settings if isinstance(key, SysctlKey)]

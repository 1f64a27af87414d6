"""The reconciliation loop: makes one kernel's actual tables equal the compiler's desired ones.

    touched keys ──▶ wake ──▶ sync: plan, apply, settle ──▶ kernel
    kernel events ─▶ observe ──▲                              │
    full readings ─▶ replace ──┴──────────────────────────────┘

Only `apply` and `read` of the driver run on other threads; all else runs in the event loop's
thread. One lock allows a single reader or writer of the kernel at a time.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
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
from steppe.state.nft import ElementKey
from steppe.state.node import Key, Value
from steppe.state.sysctl import SysctlKey

log = logging.getLogger("steppe.agent")

COALESCE_SECONDS = 0.03
"""Seconds for which notifications of the kernel are collected: the deletion of a link comes as
several events, and repairs before the last one would fail."""
_MANY_CHANGES = 1_000
"""With more changes than this, others have their turn between what is done with all of them."""
RETRY_SECONDS = 1.0
"""Seconds until changes that the kernel refused are tried again."""


class Owner(Protocol):
    """Is asked whether the kernel may be changed, and called with the results."""

    @property
    def trusted(self) -> bool:
        """Whether every list that the kernel depends on is complete; an incomplete list looks like
        deletions, so nothing is changed before.
        """

    def applied(self, keys: Collection[Key]) -> None:
        """The kernel has the desired values of these keys now, except those that it refused."""

    async def lost(self, workload: Workload) -> None:
        """A pod's link is missing from the kernel."""

    async def in_step(self) -> None:
        """A pass has ended: all changes that were wanted when it began have been tried."""


class Keeper:
    """The reconciliation loop of one kernel.

    Invariant: a key whose desired or actual value may have changed is compared in a later pass,
    also after errors; while `trusted` is false, or the kernel's tables are not known, nothing in
    the kernel is changed; one task at a time uses the driver.
    """

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
        self._mended = False
        self._unread = False
        """Whether the kernel has to be read first: reading or changing it failed as a whole."""
        self.reconciler = Reconciler(compiler)

    @property
    def busy(self) -> float:
        """The seconds since the current pass began; 0 if there is none."""
        return time.monotonic() - self._busy_since if self._busy_since is not None else 0.0

    def touch(self, keys: Iterable[Key]) -> None:
        """The desired values of these keys may have changed: compare and apply them soon."""
        self.reconciler.touch(keys)
        self._wake.set()

    async def run(self, turned: Callable[[], None] = lambda: None) -> None:
        """Whenever something may differ: plan, apply, and remember failures.

        `turned` is called after each pass.

        A SteppeError ends it, for example if tables change during every attempt to read them. It
        can be run again: it then reads the kernel first, and no change is lost.
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
                turned()
                if self.reconciler.compared > MANY_KEYS:
                    settle_heap(grown=self.reconciler.planned > MANY_KEYS)

    async def follow(self, heard: AsyncGenerator[Sequence[Event], None]) -> None:
        """Take in the kernel's events while `run` runs beside it.

        It can be run again after an error: the kernel is then read, which replaces lost events.
        """
        async with contextlib.aclosing(heard):
            async for events in heard:
                if not events:
                    continue  # only events of our own transactions, which the watch leaves out
                with self._read_anew_after_errors():
                    await self._note(events if self._repairs else ())
                asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._wake.set)

    async def read(self, *, lost: bool = False) -> None:
        """Make the base of the tables (driver.ensure), then read all our entries from the kernel.

        `lost`: entries may be gone; a base that is comes back with those that the kernel shall
        have. The next pass compares every key. TablesChangedError if the tables changed during
        every attempt to read them.
        """
        async with self._lock:
            known = bool(self.reconciler.actual)
            desired = self._after_a_loss() if lost else {}
            faults, actual = await asyncio.to_thread(self._ensured, desired)
            self.reconciler.replace_actual(actual)
            self._unread = False
        if any(fault.how == "missing" for fault in faults):
            await self._tell_remade(desired, actual)
        if self._mended and known:
            # Flows that began while the rules were gone are looked at, though no entry changes.
            self._owner.applied(self._wanted())
        self._mended = False

    async def _tell_remade(self, desired: Mapping[Key, Value], actual: Mapping[Key, Value]) -> None:
        """What came back with a base that was missing, as if each entry had been added."""
        elements = tuple(
            Change(key, None, value)
            for key, value in desired.items()
            if isinstance(key, ElementKey) and actual.get(key) == value
        )
        await _others_turn(elements)
        named = elements if len(elements) <= NAMED_CHANGES else ()
        because = {change.key: self.reconciler.because(change) for change in named}
        tell(elements, because, {}, self._metrics, {})

    async def read_settings(self) -> None:
        """Read the sysctls that are desired now (the rest is known), then compare every key."""
        async with self._lock:
            settings = await asyncio.to_thread(
                self._driver.read, self._wanted(), frozenset((SysctlKey.table,))
            )
            self.reconciler.replace_actual({**self.reconciler.actual, **settings})

    async def look(self) -> dict[Key, Value]:
        """Read all our entries from the kernel; changes nothing."""
        async with self._lock:
            return await asyncio.to_thread(self._look)

    async def check(self) -> tuple[Fault, ...]:
        """Faults in the base of the tables, such as nftables' rules (driver.check)."""
        async with self._lock:
            return await asyncio.to_thread(self._driver.check)

    async def repair(self, seen: dict[Key, Value]) -> None:
        """Compare with these actual tables and apply the changes now."""
        async with self._lock:
            await asyncio.to_thread(self._ensure, self._after_a_loss())
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
        """If the work inside fails, the kernel is read again before the next pass."""
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
            for key in plan.repairs:
                self._metrics.repairs.labels(key.table).inc()
            if plan.changes:
                await self._apply(plan.changes)
        for workload in plan.lost:
            await self._owner.lost(workload)
        await self._owner.in_step()
        if self.reconciler.failed and not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)

    async def _apply(self, changes: tuple[Change, ...]) -> None:
        # Find the causes now: the desired entries may change before the kernel answers.
        await _others_turn(changes)
        named = changes if len(changes) <= NAMED_CHANGES else ()
        because = {change.key: self.reconciler.because(change) for change in named}
        with self._metrics.apply_seconds.time():
            failures = await asyncio.to_thread(self._driver.apply, changes)
        because.update((f.change.key, self.reconciler.because(f.change)) for f in failures)
        before = dict(self.reconciler.failed)
        self.reconciler.settle(changes, failures)
        await _others_turn(changes)
        tell(changes, because, self.reconciler.failed, self._metrics, before)
        await _others_turn(changes)
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
        self.reconciler.observe(event.key, event.value)

    async def _read_again(self, event: Lost) -> None:
        log.info(line("reading-again", why=event.reason))
        await self.read(lost=True)

    def _after_a_loss(self) -> Mapping[Key, Value]:
        return self.reconciler.after_a_loss(trusted=self._owner.trusted)

    def _ensure(self, desired: Mapping[Key, Value]) -> tuple[Fault, ...]:
        faults = self._driver.ensure(desired)
        for fault in faults:
            self._mended = True
            log.info(line("made-right", what=fault.what, was=fault.how))
        return faults

    def _ensured(self, desired: Mapping[Key, Value]) -> tuple[tuple[Fault, ...], dict[Key, Value]]:
        return self._ensure(desired), self._look()

    def _look(self) -> dict[Key, Value]:
        return self._driver.read(self._wanted())

    def _wanted(self) -> tuple[Key, ...]:
        return tuple(self._compiler.state)


async def _others_turn(changes: Sequence[Change]) -> None:
    if len(changes) > _MANY_CHANGES:
        await asyncio.sleep(0)

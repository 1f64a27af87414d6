"""Keeps this node's BIRD running, and in agreement with the API.

    changes in the API ─┐
    BIRD has ended ─────┼─▶ turn: tables ─▶ text ─▶ start, or load ─▶ confirm or undo ─▶ missing?
    once a second ──────┘

The agent may end at any time: BIRD goes on, and the next agent takes it over. BIRD may end at any
time: it is started again at once, and only where it ends again and again with pauses, since two
ends within a second make neighbours forget its routes (RFC 4724, section 4.2).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from steppe.agent.log import line
from steppe.bgp.compile import BgpWorld, compile_bgp
from steppe.bgp.judge import faults
from steppe.bgp.render import protocol_of, render
from steppe.bgp.seen import LearnedRoute, Md5Faults, SeenSession
from steppe.bgp.tables import BgpTables, Session, SessionKey
from steppe.drivers.bird.control import BirdError, BirdGoneError
from steppe.drivers.bird.daemon import Bird, md5_faults
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.state.claim import Entry

log = logging.getLogger("steppe.agent")

TURN_SECONDS = 1.0
"""Seconds between two looks at BIRD, when nothing changes."""
SETTLE_SECONDS = 0.02
"""How long changes are collected: an EndpointSlice follows its Service at once."""
TRUST_SECONDS = 10.0
"""How long sessions that were up may take to be up again under a new configuration."""
AGAIN_SECONDS = 60.0
"""After which a configuration that cost a session is tried again."""
PATIENCE_SECONDS = 10.0
"""How long a session may be missing until it is told."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 16.0
STEADY_SECONDS = 2.0
"""A BIRD that ran for so long is started again at once."""


class View(Protocol):
    """What the tables are made of (view.BgpView)."""

    def passwords(self) -> dict[str, str]:
        """By key."""

    def world(self, passwords: frozenset[str]) -> BgpWorld | None:
        """None while it is not known; `passwords` are the keys that there are."""


class Refused(msgspec.Struct, frozen=True):
    """A configuration that is not in force although the API asks for it, why, and since when."""

    text: str
    why: str
    at: float
    up: frozenset[str]
    """The sessions that were up then."""


class Speaker:
    """One node's BIRD.

    Invariant: `tables` are those of the last turn; `problems` are about them alone.
    """

    def __init__(
        self,
        node: str,
        view: View,
        bird: Bird,
        clock: Callable[[], float] = time.monotonic,
        md5: Callable[[], Md5Faults] = md5_faults,
    ) -> None:
        self._node = Cause(ObjectRef("Node", "", node))
        self._view = view
        self._bird = bird
        self._clock = clock
        self._md5 = md5
        self._md5_before = md5()
        self._woken = asyncio.Event()
        self._refused: Refused | None = None
        self._filters: object = None
        """Those that BIRD has, as far as this agent knows."""
        self._started_at = clock() - LONGEST_PAUSE
        self._pause = FIRST_PAUSE
        self._missing_since: dict[SessionKey, float] = {}
        self._tables_problems: tuple[Problem, ...] = ()
        self.tables = BgpTables()
        self.seen: dict[str, SeenSession] = {}
        self.missing: dict[SessionKey, str] = {}
        """Why, of every session that is not up now."""
        self.starts = 0

    def wake(self) -> None:
        """Something that BGP depends on may have changed."""
        self._woken.set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of objects, of what BIRD refused, and of sessions that are missing for a while."""
        found = list(self._tables_problems)
        if self._refused is not None:
            found.append(Problem(self._node, self._refused.why))
        found += [Problem(entry.because[0], why) for entry, why in self.late()]
        return tuple(sorted(set(found)))

    def late(self) -> Iterator[tuple[Entry[SessionKey, Session], str]]:
        """The sessions that are missing for a while, and why."""
        since = self._clock() - PATIENCE_SECONDS
        for key, why in self.missing.items():
            entry = self.tables.sessions.get(key)
            if entry is not None and self._missing_since.get(key, since + 1) <= since:
                yield entry, why

    async def run(self) -> None:
        """Turn after turn until cancelled; BirdError where BIRD cannot be run or asked."""
        while True:
            try:
                await self.turn()
            except BirdGoneError:
                continue  # it was killed in the middle: the next turn starts it again
            await self._wait()

    async def turn(self) -> None:
        """Bring BIRD into agreement, and look at its sessions."""
        passwords = self._view.passwords()
        world = self._view.world(frozenset(passwords))
        running = await self._bird.is_running()
        if running and self._bird.is_unconfirmed:
            await self._bird.undo()
        if world is None:
            # The API is away, or not read yet: what BIRD had last stays in force.
            known = self._bird.loaded
            if known is not None and not running:
                await self._start(known)
            return
        tables, self._tables_problems = compile_bgp(world)
        if not (tables.speaks or running):
            self.tables, self.seen, self.missing = tables, {}, {}
            return
        text = render(tables, passwords)
        if not running:
            await self._start(text)
            self._filters = tables.filters
        elif text != self._bird.loaded:
            await self._load(tables, text)
        else:
            self._refused = None
        self.tables = tables
        await self._look(world)

    async def learned(self) -> tuple[LearnedRoute, ...]:
        """What BIRD has from whom; BirdError if it cannot be asked."""
        return await self._bird.routes() if self.tables.speaks else ()

    async def _wait(self) -> None:
        """Until something changes, BIRD ends or a second has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TURN_SECONDS):
                async with asyncio.TaskGroup() as tasks:
                    gone = tasks.create_task(self._until_gone())
                    await self._woken.wait()
                    gone.cancel()
                await asyncio.sleep(SETTLE_SECONDS)
        self._woken.clear()

    async def _until_gone(self) -> None:
        if self.tables.speaks and self._bird.pid() is not None:
            await self._bird.until_gone()
            self._woken.set()

    async def _start(self, text: str) -> None:
        now = self._clock()
        if now - self._started_at < STEADY_SECONDS:
            pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            log.warning(line("bird-ends", again=f"in {pause:.0f} s"))
            await asyncio.sleep(pause)
        else:
            self._pause = FIRST_PAUSE
        await self._bird.start(text)
        self._started_at = self._clock()
        self.starts += 1
        self._refused = None
        log.info(line("bird-started", starts=self.starts, pid=self._bird.pid()))

    async def _load(self, tables: BgpTables, text: str) -> None:
        """Another configuration; it is undone if a session that was up stays away."""
        before = {
            name for name, each in (await self._bird.sessions()).items() if each.is_established
        }
        kept = before & {protocol_of(entry.value) for entry in tables.sessions.values()}
        if self._is_refused(text, frozenset(kept)):
            return
        try:
            await self._bird.load(text, soft=tables.filters == self._filters)
        except BirdGoneError:
            raise
        except BirdError as error:
            self._refuse(text, str(error), kept)
            return
        gone = await self._gone(kept)
        if gone:
            await self._bird.undo()
            names = ", ".join(sorted(gone))
            why = (
                f"a change of BGP was undone: with it {names} stayed away for "
                f"{TRUST_SECONDS:.0f} s. Correct the last change, or change the other side as "
                "well: it is tried again when a session ends, and each minute"
            )
            self._refuse(text, why, kept)
        else:
            await self._bird.confirm()
            self._refused, self._filters = None, tables.filters
            log.info(line("bird-configured", sessions=len(tables.sessions)))

    def _is_refused(self, text: str, up: frozenset[str]) -> bool:
        known = self._refused
        return (
            known is not None
            and known.text == text
            and known.up <= up
            and self._clock() - known.at < AGAIN_SECONDS
        )

    def _refuse(self, text: str, why: str, up: set[str]) -> None:
        self._refused = Refused(text, why, self._clock(), frozenset(up))
        log.warning(line("bird-refused", why=why))

    async def _gone(self, kept: set[str]) -> set[str]:
        """Of these sessions, those that are not up again in time."""
        end = self._clock() + TRUST_SECONDS
        while True:
            seen = await self._bird.sessions()
            gone = {name for name in kept if name not in seen or not seen[name].is_established}
            if not gone or self._clock() > end:
                return gone
            await asyncio.sleep(SETTLE_SECONDS * 10)

    async def _look(self, world: BgpWorld) -> None:
        self.seen = await self._bird.sessions()
        now, counted = self._clock(), self._md5()
        sessions = {key: entry.value for key, entry in self.tables.sessions.items()}
        lately = counted.since(self._md5_before)
        self.missing = faults(sessions, self.seen, world.here, lately)
        for key in sessions:
            if key not in self.missing:
                self._missing_since.pop(key, None)
            else:
                self._missing_since.setdefault(key, now)
        if not self.missing:
            self._md5_before = counted

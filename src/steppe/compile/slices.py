"""Work on policies that is done a slice at a time, so that nobody waits long for it.

    begin(work) ─▶ done within one slice: its keys at once
              └──▶ else it waits; more() goes on with it ─▶ the keys of all that waited, at the end

Between the slices other events are told and worked off, in any order: each step makes a block of
claims what it shall be by all that is known at that moment, so one more step for it does no harm.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator

from steppe.kube.cause import Cause
from steppe.kube.policies import Direction
from steppe.state.node import Key

NONE: frozenset[Key] = frozenset()
Work = Iterator[Collection[Key]]
"""Steps, none of them long, each with the keys that it has touched."""
Pace = Callable[[], Callable[[int], bool]]
"""Begins a slice: what it answers is told how many keys each step has touched, and answers whether
the slice is over. How long slices are changes nothing of what comes out."""
STEP = 20


def counted(most: int) -> Pace:
    """Slices of so much: `STEP` for each step, and one for each key."""

    def begin() -> Callable[[int], bool]:
        done = 0

        def over(keys: int) -> bool:
            nonlocal done
            done += STEP + keys
            return done > most

        return over

    return begin


class Slices:
    """Work that waits, and what may not be used before it is done.

    Invariant: while any work waits, no key that it has touched is handed out, nor that of a peer
    which one of its rules (`causes`) takes: the kernel never holds half of a change. Without
    `behind` nobody goes on with what waits, and so all work is done at once.
    """

    def __init__(self) -> None:
        self.behind: Callable[[], None] | None = None
        """Called when work begins to wait."""
        self.pace = counted(1_000)
        self.pending: set[Key] = set()
        self.causes: set[Cause] = set()
        """The rules whose change is not worked off."""
        self.links: set[str] = set()
        """The pods here whose own change is not worked off."""
        self.numbers: set[tuple[Direction, int]] = set()
        """The peers' numbers whose rulings are not worked off."""
        self._waiting: deque[Work] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def begin(self, work: Work, causes: Collection[Cause], links: Collection[str]) -> set[Key]:
        """Answers the keys to diff now."""
        touched: set[Key] = set()
        over = self.pace()
        for keys in work:
            touched.update(keys)
            if self.behind is not None and over(len(keys)):
                self._waiting.append(work)
                self.pending |= touched
                self.causes.update(causes)
                self.links.update(links)
                self.behind()
                return set()
        if not self._waiting:
            self.numbers.clear()
        return touched

    def more(self) -> frozenset[Key]:
        """One slice more; with the last one, the keys to diff now."""
        over = self.pace()
        while self._waiting:
            keys = next(self._waiting[0], None)
            if keys is None:
                self._waiting.popleft()
                continue
            self.pending.update(keys)
            if over(len(keys)):
                break
        if self._waiting:
            return NONE
        found = frozenset(self.pending)
        for each in (self.pending, self.causes, self.links, self.numbers):
            each.clear()
        return found

    def defer(self, keys: frozenset[Key]) -> frozenset[Key]:
        """Keys that have to wait for what waits."""
        self.pending |= keys
        return NONE

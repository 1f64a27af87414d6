"""Objects whose work takes long: done a slice at a time, one group of them after the other.

add(names) ─▶ done within one slice: its keys at once
         └──▶ else it waits; more() goes on with it ─▶ the keys of each group, at its end
"""

from collections.abc import Callable, Collection
from itertools import chain

from steppe.compile.cluster_objects import Name
from steppe.compile.slices import Work, counted
from steppe.state.node import Key

NONE: frozenset[Key] = frozenset()


class LongWork:
    """Groups that wait, and the keys that the first of them has touched so far.

    Invariant: the keys of a group are handed out together, when all of it is done; until then they
    are `pending`, so the kernel never holds half of a change. What is told of an object while its
    own work goes on is worked off after that: so news without an end do not keep it for ever from
    the kernel. Without `behind` nobody goes on with what waits, and all work is done at once.
    """

    def __init__(self, steps: Callable[[Name], Work]) -> None:
        """`steps`: the work for one object, by all that is known when it begins."""
        self.behind: Callable[[], None] | None = None
        """Called when work begins to wait."""
        self.pace = counted(1_000)
        self.pending: set[Key] = set()
        self._steps = steps
        self._work: Work | None = None
        self._busy: frozenset[Name] = frozenset()
        self._groups: list[frozenset[Name]] = []

    @property
    def waiting(self) -> bool:
        return self._work is not None or bool(self._groups)

    def has(self, name: Name) -> bool:
        """Whether any work for this object waits."""
        return name in self._busy or any(name in group for group in self._groups)

    def add(self, names: Collection[Name]) -> frozenset[Key]:
        """Work on these objects together; answers the keys to diff now."""
        idle = not self.waiting
        self._insert(frozenset(names))
        if self.behind is None:
            found: set[Key] = set()
            while self.waiting:
                found |= self.more()
            return frozenset(found)
        if not idle:
            return NONE
        touched = self.more()
        if self.waiting:
            self.behind()
        return touched

    def more(self) -> frozenset[Key]:
        """One slice more, up to the end of a group at most: then the keys that it has touched."""
        over = self.pace()
        if self._work is None and self._groups:
            self._busy = self._groups.pop(0)
            self._work = chain.from_iterable(map(self._steps, sorted(self._busy)))
        for keys in self._work or ():
            self.pending.update(keys)
            if over(len(keys)):
                return NONE
        found, self.pending = frozenset(self.pending), set()
        self._work, self._busy = None, frozenset()
        return found

    def _insert(self, names: frozenset[Name]) -> None:
        """Behind all others, but where some of the names wait already: there, with those."""
        groups = self._groups
        shared = [group for group in groups if not group.isdisjoint(names)]
        at = groups.index(shared[0]) if shared else len(groups)
        self._groups = [group for group in groups if group not in shared]
        self._groups.insert(at, names.union(*shared))

"""Rows about a node's entries for people, made in slices: there may be 110,000 entries, and the
event loop must not be blocked for all of them.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable
from typing import Any

from steppe.agent.node.reconciler import Reconciler
from steppe.compile.tables import Entries
from steppe.kube.cause import Cause
from steppe.state.node import TABLES, Key, NodeEntry

Row = dict[str, Any]
SLICE = 1_000
"""Entries in one slice, which takes some milliseconds."""
IN_KERNEL = "in kernel"


class Rows:
    """Reads desired entries and the actual values that are known of the kernel."""

    def __init__(self, state: Entries, reconciler: Reconciler) -> None:
        self._state = state
        self._reconciler = reconciler

    async def show(self, table: str, cause: str) -> list[Row]:
        """The rows of a table, or of "all", with a cause that matches, sorted."""
        runs: list[list[Row]] = []
        wanted = self._state if table == "all" else self._state.table(table)
        async for some in _slices(wanted):
            found = ((key, self._state.get(key)) for key in some)
            rows = [
                self._row(key, entry)
                for key, entry in found
                if entry is not None and _matches(cause, entry.because)
            ]
            runs.append(sorted(rows, key=_order))
        ordered: list[Row] = []
        for row in heapq.merge(*runs, key=_order):
            ordered.append(row)
            if len(ordered) % SLICE == 0:
                await asyncio.sleep(0)
        return ordered

    async def late(self, *, complete: bool = True) -> tuple[list[Row], int]:
        """The rows that are not in the kernel, and the number of changes to bring it in sync.

        If the view of the API is not `complete`, entries that no object claims stay, and are not
        counted as changes.
        """
        actual, pending = self._reconciler.actual, 0
        rows: list[Row] = []
        async for some in _slices(self._state):
            changes = self._reconciler.drift(actual, some)
            pending += len(changes)
            found = ((key, self._state.get(key)) for key in some)
            rows += (
                self._row(key, entry)
                for key, entry in found
                if entry is not None
                and (key in self._reconciler.failed or actual.get(key) != entry.value)
            )
        async for some in _slices(actual if complete else ()):
            gone = [key for key in some if key not in self._state]
            pending += len(self._reconciler.drift(actual, gone))
        return rows, pending

    def refused(self) -> list[Row]:
        """The rows that the kernel refused; costs what it refused, not what the tables hold."""
        found = ((key, self._state.get(key)) for key in self._reconciler.failed)
        return [self._row(key, entry) for key, entry in found if entry is not None]

    def _row(self, key: Key, entry: NodeEntry) -> Row:
        failed = self._reconciler.failed.get(key)
        there = self._reconciler.actual.get(key) == entry.value
        return {
            "table": key.table,
            "key": str(key),
            "value": str(entry.value),
            "state": f"failed: {failed.error}" if failed else IN_KERNEL if there else "pending",
            "because": [str(cause) for cause in entry.because],
        }


async def _slices(keys: Iterable[Key]) -> AsyncIterator[tuple[Key, ...]]:
    """A copy of the keys in slices; other tasks run after each slice."""
    known = tuple(keys)
    for start in range(0, len(known), SLICE):
        yield known[start : start + SLICE]
        await asyncio.sleep(0)


def _order(row: Row) -> tuple[int, str]:
    return TABLES.index(row["table"]), row["key"]


def _matches(wanted: str, because: Iterable[Cause]) -> bool:
    """Whether a cause is the wanted object: KIND/NAMESPACE/NAME, in any case, or a part of it."""
    return not wanted or any(wanted.lower() in str(cause.ref).lower() for cause in because)

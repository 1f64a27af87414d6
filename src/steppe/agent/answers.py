"""The agent's answers to `steppe show`, `status`, `denied` and `explain`.

Each method returns one JSON document. The HTTP requests for them are in agent/server.py.
"""

import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from steppe.agent.denied.denied import Denials
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.surroundings import Observer
from steppe.agent.rows import Row, Rows
from steppe.compile.incremental import NodeCompiler
from steppe.findings.finding import finding_document
from steppe.kube.cause import Cause, Problem
from steppe.net.address import IPAddress
from steppe.state.document import (
    KeyState,
    concerns,
    key_state_document,
    surroundings_document,
)

Answer = dict[str, Any]


def _own_version() -> str:
    try:
        return version("steppe")
    except PackageNotFoundError:
        return "unknown"  # run from a folder, without having been installed


VERSION = _own_version()


class Answers:
    """Answers from one agent's tables; only `tables` reads the kernel.

    `why_not_ready`: why pods cannot be attached now, "" when they can.
    """

    def __init__(
        self,
        *,
        compiler: NodeCompiler,
        keeper: Keeper,
        observer: Observer,
        feeds: Feeds,
        denials: Denials,
        why_not_ready: Callable[[], str],
        problems: Callable[[], Collection[Problem]],
    ) -> None:
        self._compiler = compiler
        self._keeper = keeper
        self._observer = observer
        self._feeds = feeds
        self._denials = denials
        self._why_not_ready = why_not_ready
        self._problems = problems
        self._rows = Rows(compiler.state, keeper.reconciler)
        self._started = time.monotonic()

    async def show(self, table: str, cause: str) -> Answer:
        """The desired entries of a table, or of all, that have this cause."""
        rows = await self._rows.show(table, cause)
        return {"schema": "steppe.show/v1", "node": self._compiler.name, "rows": rows}

    async def status(self) -> Answer:
        """The state of the agent, the entries that are not in the kernel yet, and all Problems."""
        late, pending = await self._rows.late(complete=self._feeds.trusted)
        return self._state(late) | {"pending": pending}

    def brief(self) -> Answer:
        """The status without the entries that are on their way, for which all would be compared."""
        return self._state(self._rows.refused())

    def _state(self, late: Sequence[Row]) -> Answer:
        compiler, feeds, counts = self._compiler, self._feeds, self._compiler.state.counts()
        why = self._why_not_ready()
        return {
            "schema": "steppe.agent-status/v1",
            "node": compiler.name,
            "version": VERSION,
            "ready": not why,
            "reason": why,
            "uptimeSeconds": round(time.monotonic() - self._started, 1),
            "api": {
                "inSync": not feeds.out_of_sync,
                "lastError": feeds.out_of_sync,
                "seen": {kind: watch.version for kind, watch in feeds.watches.items()},
            },
            "fabric": compiler.settings.fabric,
            "nodes": len(compiler.nodes),
            "pods": len(compiler.workloads),
            "entries": counts,
            "notInKernel": late,
            "problems": [_problem(p.cause, p.message) for p in self._problems()],
        }

    async def tables(self, addresses: frozenset[IPAddress]) -> Answer:
        """Actual and desired entries that traffic of these addresses may use, and what the node
        has beside them.

        The kernel is read for this; the entries are written by state/document.py.
        """
        beside = await self._observer.look(addresses)
        seen, state = await self._keeper.look(), self._compiler.state
        entries = (
            KeyState(key, seen.get(key), *((entry.value, entry.because) if entry else (None,)))
            for key in {*seen, *state}
            if concerns(key, addresses)
            for entry in (state.get(key),)
        )
        return {
            "schema": "steppe.tables/v1",
            "node": self._compiler.name,
            "entries": [key_state_document(held) for held in entries],
            "surroundings": surroundings_document(beside.around),
            "findings": [finding_document(found) for found in beside.findings],
        }

    async def denied(self) -> Answer:
        """The counts of packets that policies have denied to this node's pods."""
        await self._denials.look()
        rows = [*self._denials.rows()]
        return {"schema": "steppe.denied/v1", "node": self._compiler.name, "rows": rows}


def _problem(cause: Cause, message: str) -> dict[str, str]:
    return {"object": str(cause.ref), "field": cause.field, "message": message}

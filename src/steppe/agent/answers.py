"""What the agent tells those who ask: `steppe show`, `audit`, `status`, `denied` and `explain`.

Each method answers one JSON document. How they are asked for stands in agent/server.py.
"""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from steppe.agent.denied.denied import Denials
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.node.keeper import Keeper
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Cause, Problem
from steppe.net.address import IPAddress
from steppe.state.document import Held, concerns, held_document
from steppe.state.node import TABLES, Key, NodeEntry

Answer = dict[str, Any]


class Answers:
    """Answers from one agent's tables; `tables` looks at the kernel as well.

    `why_not_ready`: why pods cannot be attached now, "" when they can.
    """

    def __init__(
        self,
        *,
        compiler: NodeCompiler,
        keeper: Keeper,
        feeds: Feeds,
        denials: Denials,
        why_not_ready: Callable[[], str],
        problems: Callable[[], Collection[Problem]],
    ) -> None:
        self._compiler = compiler
        self._keeper = keeper
        self._feeds = feeds
        self._denials = denials
        self._why_not_ready = why_not_ready
        self._problems = problems
        self._started = time.monotonic()

    def show(self, table: str, cause: str) -> Answer:
        """What a table shall hold, or all of them, as far as this cause asks for it."""
        rows = (
            self._row(key, entry)
            for key, entry in self._compiler.state.items()
            if table in ("all", key.table) and _matches(cause, entry.because)
        )
        ordered = sorted(rows, key=lambda row: (TABLES.index(row["table"]), row["key"]))
        return {"schema": "steppe.show/v1", "node": self._compiler.name, "rows": ordered}

    def _row(self, key: Key, entry: NodeEntry) -> dict[str, Any]:
        failed = self._keeper.reconciler.failed.get(key)
        state = "in kernel" if self._keeper.reconciler.actual.get(key) == entry.value else "pending"
        return {
            "table": key.table,
            "key": str(key),
            "value": str(entry.value),
            "state": f"failed: {failed.error}" if failed else state,
            "because": [str(cause) for cause in entry.because],
        }

    def status(self) -> Answer:
        """How the agent is, what is not in its kernel, and which objects are wrong."""
        compiler, feeds, reconciler = self._compiler, self._feeds, self._keeper.reconciler
        rows = [self._row(key, entry) for key, entry in compiler.state.items()]
        why = self._why_not_ready()
        return {
            "schema": "steppe.agent-status/v1",
            "node": compiler.name,
            "ready": not why,
            "reason": why,
            "uptimeSeconds": round(time.monotonic() - self._started, 1),
            "api": {
                "inSync": feeds.status.synced_since is not None,
                "lastError": feeds.status.last_error,
                "seen": {kind: watch.version for kind, watch in feeds.watches.items()},
            },
            "fabric": compiler.settings.fabric,
            "nodes": len(compiler.nodes),
            "pods": len(compiler.workloads),
            "entries": {table: sum(r["table"] == table for r in rows) for table in TABLES},
            "notInKernel": [row for row in rows if row["state"] != "in kernel"],
            "pending": len(reconciler.drift(reconciler.actual)),
            "problems": [_problem(p.cause, p.message) for p in self._problems()],
        }

    async def tables(self, addresses: frozenset[IPAddress]) -> Answer:
        """What traffic of these addresses may meet: as the kernel has it, and as it shall have it.

        The kernel is read anew; the schema's entries are state/document.py's.
        """
        seen, state = await self._keeper.look(), self._compiler.state
        entries = (
            Held(key, seen.get(key), *((entry.value, entry.because) if entry else (None,)))
            for key in {*seen, *state}
            if concerns(key, addresses)
            for entry in (state.get(key),)
        )
        return {
            "schema": "steppe.tables/v1",
            "node": self._compiler.name,
            "entries": [held_document(held) for held in entries],
        }

    async def denied(self) -> Answer:
        """The packets that policies have denied to this node's pods."""
        await self._denials.look()
        rows = [*self._denials.rows()]
        return {"schema": "steppe.denied/v1", "node": self._compiler.name, "rows": rows}


def _matches(wanted: str, because: Iterable[Cause]) -> bool:
    """Whether a cause is the wanted object: KIND/NAMESPACE/NAME, in any case, or a part of it."""
    return not wanted or any(wanted.lower() in str(cause.ref).lower() for cause in because)


def _problem(cause: Cause, message: str) -> dict[str, str]:
    return {"object": str(cause.ref), "field": cause.field, "message": message}

"""What the agent tells those who ask: `steppe show`, `audit`, `status`, `denied` and `explain`.

Requests come over STATE_DIR/agent.sock, one JSON document each way:
`{"schema": "steppe.agent-request/v1", "do": "show", "table": "routes", "cause": "Node/node-b"}`.
"""

import time
from typing import TYPE_CHECKING, Any, cast

from steppe.agent.audit import audit
from steppe.agent.rows import Rows
from steppe.agent.rpc import Stream
from steppe.kube.cause import Cause
from steppe.net.address import parse_address
from steppe.state.document import Held, concerns, held_document
from steppe.state.node import TABLES

if TYPE_CHECKING:
    from steppe.agent.daemon import Agent

Answer = dict[str, Any]
REQUESTS = ("show", "status", "audit", "tables", "denied")


class Answers:
    """Answers from one agent's tables; `audit` and `tables` look at the kernel."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._rows = Rows(agent.compiler.state, agent.keeper.reconciler)

    async def answer(self, request: dict[str, Any]) -> Answer | Stream:
        """The answer to one request; nonsense is answered with an error, never raised."""
        do = request.get("do")
        if do == "show":
            return await self._show(str(request.get("table", "")), str(request.get("cause", "")))
        if do == "status":
            return await self._status()
        if do == "audit":
            return await audit(self._agent, repair=bool(request.get("repair")))
        if do == "tables":
            return await self._tables(request.get("addresses"))
        if do == "denied":
            return self._agent.samples.follow() if request.get("follow") else await self._denied()
        return {"error": f"unknown request {do!r}: it is none of {', '.join(REQUESTS)}"}

    async def _show(self, table: str, cause: str) -> Answer:
        if table not in (*TABLES, "all"):
            return {"error": f"no table {table!r}: there are {', '.join(TABLES)}, and all"}
        rows = await self._rows.show(table, cause)
        return {"schema": "steppe.show/v1", "node": self._agent.compiler.name, "rows": rows}

    async def _status(self) -> Answer:
        agent, counts = self._agent, self._agent.compiler.state.counts()
        late, pending = await self._rows.late()
        synced = agent.feeds.status.synced_since
        why = agent.why_not_ready()
        return {
            "schema": "steppe.agent-status/v1",
            "node": agent.compiler.name,
            "ready": not why,
            "reason": why,
            "uptimeSeconds": round(time.monotonic() - agent.started, 1),
            "api": {
                "inSync": synced is not None,
                "lastError": agent.feeds.status.last_error,
                "seen": {kind: watch.version for kind, watch in agent.feeds.watches.items()},
            },
            "fabric": agent.compiler.settings.fabric,
            "nodes": len(agent.compiler.nodes),
            "pods": len(agent.compiler.workloads),
            "entries": counts,
            "notInKernel": late,
            "pending": pending,
            "problems": [_problem(p.cause, p.message) for p in agent.problems],
        }

    async def _tables(self, texts: object) -> Answer:
        """What traffic of these addresses may meet: as the kernel has it, and as it shall have it.

        The kernel is read anew; the schema's entries are state/document.py's.
        """
        try:
            addresses = frozenset(parse_address(str(t)) for t in cast("list[object]", texts))
        except (TypeError, ValueError) as error:
            return {"error": f"addresses: a list of addresses is needed ({error})"}
        seen, state = await self._agent.keeper.look(), self._agent.compiler.state
        entries = (
            Held(key, seen.get(key), *((entry.value, entry.because) if entry else (None,)))
            for key in {*seen, *state}
            if concerns(key, addresses)
            for entry in (state.get(key),)
        )
        return {
            "schema": "steppe.tables/v1",
            "node": self._agent.compiler.name,
            "entries": [held_document(held) for held in entries],
        }

    async def _denied(self) -> Answer:
        await self._agent.denials.look()
        rows = [*self._agent.denials.rows()]
        return {"schema": "steppe.denied/v1", "node": self._agent.compiler.name, "rows": rows}


def _problem(cause: Cause, message: str) -> dict[str, str]:
    return {"object": str(cause.ref), "field": cause.field, "message": message}

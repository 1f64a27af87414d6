"""Compares the kernel with the desired tables, and finds what else may lead packets astray.

    differences   entries of Steppe's tables, their base (nftables' chains and sets), and the
                  entries inside pods that attaching has made
    flows         tracked flows to addresses that are no longer backends
    sessions      BGP sessions that are missing, and why
    others        what other programs, or hands, have put beside the tables, and what that does to
                  which flows (steppe.findings)

Entries and flows are repaired on request; for sessions the agent keeps trying. The inside of a pod
is only reported, since later plugins of the chain may have changed it: recreate the pod. Settings
and rules of other programs are only reported too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from steppe.agent.node.flows import stale_now
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.surroundings import Observer
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.driver import Fault
from steppe.findings.finding import finding_document
from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.net.flow import Flow
from steppe.plan.diff import Change
from steppe.plan.flows import frontend_of
from steppe.state.node import TABLES, Key, Value

Json = dict[str, Any]

SETTLE_SECONDS = 0.5
"""Seconds that a change may take from the API to the kernel without being reported as drift."""

InnerFaults = Callable[[Workload], Awaitable[Iterable[Change]]]


class Inspection(Protocol):
    """Kernel state outside the tables, read at each call; calls may block (drivers.inspection)."""

    def tracked(self) -> tuple[Flow, ...]:
        """The flows that are tracked; SteppeError where they cannot be read."""

    def end(self, flows: Iterable[Flow]) -> None:
        """Delete these flows from the connection table."""


class Audit:
    """Looks at one node. `inner_faults`: what inside a pod is not as it was attached."""

    def __init__(
        self,
        compiler: NodeCompiler,
        keeper: Keeper,
        inner_faults: InnerFaults,
        inspection: Inspection,
        observer: Observer,
        *,
        sessions: Callable[[], list[Json]] = list,
    ) -> None:
        """`sessions`: a row for each BGP session that is missing."""
        self._sessions = sessions
        self._compiler = compiler
        self._keeper = keeper
        self._inner_faults = inner_faults
        self._inspection = inspection
        self._observer = observer

    async def look(self, *, repair: bool) -> Json:
        """What is wrong now; with `repair` it is repaired after that."""
        seen, changes, faults = await self._drift()
        inside = [
            (workload, fault)
            for workload in tuple(self._compiler.workloads.values())
            for fault in await self._inner_faults(workload)
        ]
        stale = await self._stale_flows()
        others = (await self._observer.look()).findings
        ordered = sorted(changes, key=lambda c: (TABLES.index(c.key.table), str(c.key)))
        rows = [_row(c, self._keeper.reconciler.because(c)) for c in ordered]
        flows = [{"flow": str(flow), "because": self._because(flow)} for flow in stale]
        if repair and (changes or faults):
            await self._keeper.repair(seen)
        if repair and stale:
            await asyncio.to_thread(self._inspection.end, stale)
        for change, row in zip(ordered, rows, strict=True):
            failure = self._keeper.reconciler.failed.get(change.key)
            row["refused"] = str(failure.error) if failure is not None else None
        return {
            "schema": "steppe.audit/v1",
            "node": self._compiler.name,
            "entries": len(self._compiler.state),
            "repaired": repair and bool(changes or faults or stale),
            # The base first: without it there may be hundreds of elements that are not there.
            "differences": [
                *map(_fault_row, faults),
                *rows,
                *(_row_inside(*found) for found in inside),
            ],
            "flows": flows,
            "sessions": self._sessions(),
            "others": [finding_document(other) for other in others],
        }

    async def _drift(self) -> tuple[dict[Key, Value], tuple[Change, ...], tuple[Fault, ...]]:
        """What the kernel holds, and what of it is wrong for longer than a change is on its way."""
        keeper = self._keeper
        seen, faults = await keeper.look(), await keeper.check()
        first = keeper.reconciler.drift(seen)
        if not first and not faults:
            return seen, (), ()
        await asyncio.sleep(SETTLE_SECONDS)
        seen, later = await keeper.look(), await keeper.check()
        drift = keeper.reconciler.drift(seen)
        return seen, tuple(c for c in drift if c in first), tuple(f for f in later if f in faults)

    async def _stale_flows(self) -> tuple[Flow, ...]:
        flows = await asyncio.to_thread(self._inspection.tracked)
        # In this thread, for what the compiler knows changes in it.
        return stale_now(self._compiler, flows)

    def _because(self, flow: Flow) -> list[str]:
        """The Service that was addressed; none where it is gone as well."""
        served = self._compiler.served((frontend_of(flow),))
        return [str(each.cause) for each in served.values()]


def _row(change: Change, because: Iterable[Cause]) -> Json:
    how = "missing" if change.old is None else "foreign" if change.new is None else "differs"
    return {
        "table": change.key.table,
        "key": str(change.key),
        "how": how,
        "desired": str(change.new) if change.new is not None else None,
        "actual": str(change.old) if change.old is not None else None,
        "because": [str(cause) for cause in because],
        "refused": None,
    }


def _fault_row(fault: Fault) -> Json:
    row = {"table": "ruleset", "key": fault.what, "how": fault.how, "because": []}
    return row | dict.fromkeys(("desired", "actual", "refused"))


def _row_inside(workload: Workload, change: Change) -> Json:
    row = _row(change, (Cause(workload.ref, "status.podIPs"),))
    return row | {"key": f"{row['key']} in {workload.namespace}/{workload.name}"}

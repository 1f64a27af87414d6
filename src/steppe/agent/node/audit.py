"""The kernel against what it shall hold, and what else there may send packets astray.

    differences   entries of Steppe's tables, what those stand on (nftables' chains and sets), and
                  inside pods what attaching them has put there
    flows         tracked flows that go on to what is no endpoint any more
    others        other programs' rules that drop, and settings and routes that overrule ours

Entries and flows are put right on demand. What is inside a pod comes right when the pod is made
anew, for later plugins of the chain may have had a hand in it. What is others' is only told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from steppe.agent.node.flows import stale_now
from steppe.agent.node.keeper import Keeper
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.driver import Fault
from steppe.drivers.netlink.socket import NetlinkError
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.others import dropping
from steppe.drivers.preferred import preferred
from steppe.drivers.sysctl import Sysctls
from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.net.flow import Flow
from steppe.plan.diff import Change
from steppe.plan.flows import ENDED, frontend_of
from steppe.state.node import TABLES, Key, Value
from steppe.state.route import RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

Json = dict[str, Any]

SETTLE_SECONDS = 0.5
"""Seconds that a change may take from the API to the kernel without being reported as drift."""

# "The max value from conf/{all,interface}/rp_filter is used when doing source validation on the
# {interface}." (kernel, networking/ip-sysctl, rp_filter)
_STRICT = "strict: what comes in by another link than its answers would take is dropped"
_BEFORE_OURS = "another program's: it is taken before ours, for its metric is lower"
_LOOSE = "loose on every link: pods can send with IPv4 addresses that are not theirs"


InnerFaults = Callable[[Workload], Awaitable[Iterable[Change]]]


class Audit:
    """Looks at one node. `inner_faults`: what inside a pod is not as it was attached."""

    def __init__(self, compiler: NodeCompiler, keeper: Keeper, inner_faults: InnerFaults) -> None:
        self._compiler = compiler
        self._keeper = keeper
        self._inner_faults = inner_faults

    async def look(self, *, repair: bool) -> Json:
        """What is wrong at this time; then repaired, if it shall be."""
        seen, changes, faults = await self._drift()
        inside = [
            (workload, fault)
            for workload in tuple(self._compiler.workloads.values())
            for fault in await self._inner_faults(workload)
        ]
        stale = await self._stale_flows()
        # In this thread, for the compiler's tables change in it.
        routes = tuple(key for key in self._compiler.state if isinstance(key, RouteKey))
        others = await asyncio.to_thread(self._others, routes)
        ordered = sorted(changes, key=lambda c: (TABLES.index(c.key.table), str(c.key)))
        rows = [_row(c, self._keeper.reconciler.because(c)) for c in ordered]
        flows = [{"flow": str(flow), "because": self._because(flow)} for flow in stale]
        if repair and (changes or faults):
            await self._keeper.repair(seen)
        if repair and stale:
            await asyncio.to_thread(_end, stale)
        for change, row in zip(ordered, rows, strict=True):
            failure = self._keeper.reconciler.failed.get(change.key)
            row["refused"] = str(failure.error) if failure is not None else None
        return {
            "schema": "steppe.audit/v1",
            "node": self._compiler.name,
            "entries": len(self._compiler.state),
            "repaired": repair and bool(changes or faults or stale),
            "differences": [
                *rows,
                *map(_fault_row, faults),
                *(_row_inside(*found) for found in inside),
            ],
            "flows": flows,
            "others": others,
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
        flows = await asyncio.to_thread(_tracked)
        # In this thread, for what the compiler knows changes in it.
        return stale_now(self._compiler, flows)

    def _because(self, flow: Flow) -> list[str]:
        """The Service that was addressed; none where it is gone as well."""
        served = self._compiler.served((frontend_of(flow),))
        return [str(each.cause) for each in served.values()]

    def _others(self, routes: tuple[RouteKey, ...]) -> list[Json]:
        try:
            found = dropping(("inet", SKELETON.table))
            rules = [{"entry": f"{d.chain} (hook {d.hook})", "text": d.text} for d in found]
        except NftError as error:
            rules = [{"entry": "nftables", "text": f"others' rules cannot be read: {error}"}]
        here = self._compiler.here
        link = here.underlay.link if here is not None else ""
        return [*rules, *_settings(link), *_taken_first(routes)]


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


def _tracked() -> tuple[Flow, ...]:
    with Conntrack() as table:
        return table.flows(ENDED)


def _end(flows: Iterable[Flow]) -> None:
    with Conntrack() as table:
        table.end(flows)


def _taken_first(routes: tuple[RouteKey, ...]) -> Iterator[Json]:
    try:
        for info in preferred(routes):
            yield {"entry": f"route {info.key} {info.route}", "text": _BEFORE_OURS}
    except NetlinkError as error:
        yield {"entry": "routes", "text": f"others' routes cannot be read: {error}"}


def _settings(underlay: str) -> Iterator[Json]:
    all_links = SysctlKey("net/ipv4/conf/all/rp_filter")
    keys = [all_links]
    if underlay:
        keys.append(SysctlKey(f"net/ipv4/conf/{underlay}/rp_filter"))
    for key, value in Sysctls().read(keys).items():
        if value == Sysctl("1"):
            yield {"entry": f"{key} {value}", "text": _STRICT}
        elif value == Sysctl("2") and key == all_links:
            yield {"entry": f"{key} {value}", "text": _LOOSE}

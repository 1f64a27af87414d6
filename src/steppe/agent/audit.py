"""The kernel against what it shall hold, and what else there may send packets astray.

    differences   entries of Steppe's tables, and inside pods what attaching them has put there
    flows         tracked flows that go on to what is no endpoint any more
    others        other programs' rules that drop, and settings and routes that overrule ours

Entries and flows are put right on demand. What is inside a pod comes right when the pod is made
anew, for later plugins of the chain may have had a hand in it. What is others' is only told.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.netlink.socket import NetlinkError
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.others import dropping
from steppe.drivers.preferred import preferred
from steppe.drivers.sysctl import Sysctls
from steppe.kube.cause import Cause
from steppe.net.flow import Flow
from steppe.plan.diff import Change
from steppe.plan.flows import (
    ENDED,
    backends_of,
    front_of,
    fronts_met,
    fronts_of,
    service_of,
    stale_flows,
)
from steppe.state.node import TABLES, Key, Value
from steppe.state.route import RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

if TYPE_CHECKING:
    from steppe.agent.daemon import Agent

Json = dict[str, Any]

SETTLE_SECONDS = 0.5
"""How long a change may be on its way from the API to the kernel without anything being wrong."""

# "The max value from conf/{all,interface}/rp_filter is used when doing source validation on the
# {interface}." (kernel, networking/ip-sysctl, rp_filter)
_STRICT = "strict: what comes in by another link than its answers would take is dropped"
_BEFORE_OURS = "another program's: it is taken before ours, for its metric is lower"
_LOOSE = "loose on every link: pods can send with IPv4 addresses that are not theirs"


async def audit(agent: "Agent", *, repair: bool) -> Json:
    """One look at the node, and what was wrong at that time; then repaired, if it shall be."""
    seen, changes = await _drift(agent)
    inside = await agent.inner_faults()
    stale = await _stale_flows(agent)
    # In this thread, for the compiler's tables change in it.
    routes = tuple(key for key in agent.compiler.state if isinstance(key, RouteKey))
    others = await asyncio.to_thread(_others, agent, routes)
    ordered = sorted(changes, key=lambda c: (TABLES.index(c.key.table), str(c.key)))
    differences = [_row(c, agent.keeper.reconciler.because(c)) for c in ordered]
    for workload, change in inside:
        row = _row(change, (Cause(workload.ref, "status.podIPs"),))
        differences.append(row | {"key": f"{row['key']} in {workload.namespace}/{workload.name}"})
    flows = [{"flow": str(flow), "because": _because(agent, flow)} for flow in stale]
    if repair and changes:
        await agent.keeper.repair(seen)
    if repair and stale:
        await asyncio.to_thread(_end, stale)
    for change, row in zip(ordered, differences, strict=False):
        failure = agent.keeper.reconciler.failed.get(change.key)
        row["refused"] = str(failure.error) if failure is not None else None
    return {
        "schema": "steppe.audit/v1",
        "node": agent.compiler.name,
        "entries": len(agent.compiler.state),
        "repaired": repair and bool(changes or stale),
        "differences": differences,
        "flows": flows,
        "others": others,
    }


async def _drift(agent: "Agent") -> tuple[dict[Key, Value], tuple[Change, ...]]:
    """What the kernel holds, and what of it is wrong for longer than a change is on its way."""
    seen = await agent.keeper.look()
    first = agent.keeper.reconciler.drift(seen)
    if not first:
        return seen, ()
    await asyncio.sleep(SETTLE_SECONDS)
    seen = await agent.keeper.look()
    return seen, tuple(c for c in agent.keeper.reconciler.drift(seen) if c in first)


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


async def _stale_flows(agent: "Agent") -> tuple[Flow, ...]:
    flows = await asyncio.to_thread(_tracked)
    # In this thread, for the compiler's tables change in it.
    state = agent.compiler.state
    fronts = fronts_of(state) | fronts_met(flows, state)
    return stale_flows(flows, backends_of(state, fronts))


def _tracked() -> tuple[Flow, ...]:
    with Conntrack() as table:
        return table.flows(ENDED)


def _end(flows: Iterable[Flow]) -> None:
    with Conntrack() as table:
        table.end(flows)


def _because(agent: "Agent", flow: Flow) -> list[str]:
    """The Service that was addressed; none where it is gone as well."""
    entry = agent.compiler.state.get(service_of(front_of(flow)))
    return [str(cause) for cause in entry.because] if entry is not None else []


def _others(agent: "Agent", routes: tuple[RouteKey, ...]) -> list[Json]:
    try:
        found = dropping(("inet", SKELETON.table))
        rules = [{"entry": f"{d.chain} (hook {d.hook})", "text": d.text} for d in found]
    except NftError as error:
        rules = [{"entry": "nftables", "text": f"others' rules cannot be read: {error}"}]
    return [*rules, *_settings(agent), *_taken_first(routes)]


def _taken_first(routes: tuple[RouteKey, ...]) -> Iterator[Json]:
    try:
        for info in preferred(routes):
            yield {"entry": f"route {info.key} {info.route}", "text": _BEFORE_OURS}
    except NetlinkError as error:
        yield {"entry": "routes", "text": f"others' routes cannot be read: {error}"}


def _settings(agent: "Agent") -> Iterator[Json]:
    here = agent.compiler.here
    all_links = SysctlKey("net/ipv4/conf/all/rp_filter")
    keys = [all_links]
    if here is not None and here.underlay.link:
        keys.append(SysctlKey(f"net/ipv4/conf/{here.underlay.link}/rp_filter"))
    for key, value in Sysctls().read(keys).items():
        if value == Sysctl("1"):
            yield {"entry": f"{key} {value}", "text": _STRICT}
        elif value == Sysctl("2") and key == all_links:
            yield {"entry": f"{key} {value}", "text": _LOOSE}

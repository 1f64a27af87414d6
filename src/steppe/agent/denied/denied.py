"""How many packets policies denied to this node's pods, by pod and policy.

The kernel counts by address. The pod of an address and the policies that guard it are those at the
time when the counters are read: if they have just changed, packets denied before may be counted for
the new ones.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import Counter

from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.sets import policy_sets
from steppe.drivers.nftables.counters import Counters
from steppe.kube.cause import ObjectRef
from steppe.kube.objects import Workload
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress

INTERVAL_SECONDS = 10.0
"""Seconds between two readings of the counters."""
MOST_SERIES = 1000
OTHERS = "others"
"""The name of the metrics' series for all policies beyond MOST_SERIES."""
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_POLICIES = ("ClusterNetworkPolicy", "NetworkPolicy")

Counted = Mapping[tuple[Direction, IPAddress], int]


def read(counters: Counters) -> Counted:
    """Read the kernel's counters."""
    return {
        (direction, address): packets
        for direction in DIRECTIONS
        for version in (4, 6)
        for address, packets in counters.packets(
            policy_sets(direction).denied.name(version)
        ).items()
    }


def guarding(compiler: NodeCompiler, direction: Direction, link: str) -> tuple[ObjectRef, ...]:
    """The policies that guard the pod behind a link; () for a pod that is not known yet."""
    guard = compiler.policies.guard(direction, link)
    because = guard.because if guard is not None else ()
    return tuple(sorted({cause.ref for cause in because if cause.ref.kind in _POLICIES}))


class Denials:
    """Denied packets of each pod, since the agent started or, if the kernel's counters are older,
    since before.

    Invariant: a packet is added once, to a pod that is on this node when it is read; `_series` are
    the series of the metrics, at most MOST_SERIES and OTHERS.
    """

    def __init__(self, compiler: NodeCompiler, read: Callable[[], Counted], total: Counter) -> None:
        self._compiler = compiler
        self._read = read
        self._total = total
        self._series: set[tuple[Direction, str]] = set()
        self._counted: Counted = {}
        self._packets: dict[tuple[str, Direction], int] = {}

    async def run(self) -> None:
        """Update the metrics until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Read the counters now."""
        self.take(await asyncio.to_thread(self._read))

    def take(self, counted: Counted) -> None:
        """Add the packets that were counted since the last call."""
        workloads = {a: w for w in self._compiler.workloads.values() for a in w.addresses}
        for (direction, address), packets in counted.items():
            before = self._counted.get((direction, address), 0)
            # If the table was made again, or the address's counter expired, it counts from 0.
            more = packets - before if packets >= before else packets
            if more and address in workloads:
                self._add(direction, workloads[address], more)
        self._counted = dict(counted)
        self._forget({workload.link for workload in workloads.values()})

    def _add(self, direction: Direction, workload: Workload, more: int) -> None:
        key = (workload.link, direction)
        self._packets[key] = self._packets.get(key, 0) + more
        refs = guarding(self._compiler, direction, workload.link)
        # A packet denied to a pod counts for every policy that guards it: none allowed it.
        for policy in {self._series_of(direction, str(ref)) for ref in refs or ("",)}:
            self._total.labels(direction, policy).inc(more)

    def _series_of(self, direction: Direction, policy: str) -> str:
        if (direction, policy) not in self._series and len(self._series) >= MOST_SERIES:
            policy = OTHERS
        self._series.add((direction, policy))
        return policy

    def _forget(self, links: set[str]) -> None:
        """Remove pods that are gone, and series of policies that guard no pod of this node."""
        self._packets = {k: packets for k, packets in self._packets.items() if k[0] in links}
        guarding_some = {
            (direction, str(ref))
            for direction in DIRECTIONS
            for link in self._compiler.workloads
            for ref in guarding(self._compiler, direction, link)
        }
        for direction, policy in self._series - guarding_some:
            if policy not in ("", OTHERS):
                self._total.remove(direction, policy)
                self._series.discard((direction, policy))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each pod and direction with denied packets, sorted by name."""
        workloads = self._compiler.workloads
        here = (
            (workloads[link], d, p) for (link, d), p in self._packets.items() if link in workloads
        )
        for workload, direction, packets in sorted(here, key=lambda row: (row[0].ref, row[1])):
            policies = map(str, guarding(self._compiler, direction, workload.link))
            yield {
                "pod": f"{workload.namespace}/{workload.name}",
                "direction": direction,
                "packets": packets,
                "policies": sorted(policies),
            }

"""What the node has beside Steppe's tables, and what that does to the cluster's flows.

Reading and judging may take long, so both run on a thread; what the compiler knows is copied before
that, in the event loop's thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import msgspec

from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.service_chains import MASQUERADE
from steppe.fabric.registry import fabric_of
from steppe.findings.finding import Finding
from steppe.findings.known import Known
from steppe.findings.registry import findings
from steppe.findings.unread import unread
from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.state.node import Key
from steppe.state.route import RouteKey, RuleKey
from steppe.state.surroundings import InPod, OtherRoute, Surroundings, Unread
from steppe.state.workload import interface

UNSEEN = Surroundings(unread=(Unread("its inside", "its network namespace is not found"),))
UNKNOWN = Surroundings(
    unread=(
        Unread("others' rules, routes and settings", "the agent does not know its own Node yet"),
    )
)


class Reader(Protocol):
    """Reads what is beside the tables; calls may block (drivers.inspection)."""

    def surroundings(
        self, addresses: Collection[IPNetwork], links: Collection[str]
    ) -> Surroundings:
        """Of the node's own namespace: what concerns these addresses, and settings of links."""

    def inside(self, netns_fd: int) -> Surroundings:
        """Of a pod's."""


InPods = Callable[[Workload, Callable[[int], Surroundings]], Awaitable[Surroundings | None]]
"""Calls the function with a pod's namespace; None where that is not found."""


class Seen(msgspec.Struct, frozen=True):
    """What there is, and what of it concerns the cluster."""

    around: Surroundings = Surroundings()
    findings: tuple[Finding, ...] = ()


BIRD = 12
"""The rtm_protocol of BIRD's routes (RTPROT_BIRD)."""

Learned = Callable[[], Awaitable[Mapping[IPNetwork, tuple[Cause, ...]]]]
"""The prefixes that BIRD has learned, and the objects that asked for the sessions."""


async def _nothing() -> Mapping[IPNetwork, tuple[Cause, ...]]:
    return {}


class Observer:
    """Looks at one node. `in_pods` looks into its pods; `learned` tells whose BIRD's routes are."""

    def __init__(
        self, compiler: NodeCompiler, reader: Reader, in_pods: InPods, learned: Learned = _nothing
    ) -> None:
        self._learned = learned
        self._compiler = compiler
        self._reader = reader
        self._in_pods = in_pods

    async def look(self, addresses: Collection[IPAddress] | None = None) -> Seen:
        """Everything; with `addresses`, into those pods only that have one of them.

        Before the node's own object is known nothing is read, and that is what is found.
        """
        known = self._known()
        if known is None:
            return Seen(UNKNOWN, tuple(map(unread, UNKNOWN.unread)))
        more = tuple(map(host_prefix, addresses or ()))
        wanted = (*known.addresses(), *more)
        around = await asyncio.to_thread(self._reader.surroundings, wanted, known.links)
        pods = [
            InPod(pod.link, await self._in_pods(pod, self._reader.inside) or UNSEEN, interface(pod))
            for pod in known.pods
            if addresses is None or not set(pod.addresses).isdisjoint(addresses)
        ]
        around = msgspec.structs.replace(
            around, pods=tuple(pods), routes=await self._with_causes(around.routes)
        )
        return Seen(around, await asyncio.to_thread(findings, around, known))

    async def _with_causes(self, routes: tuple[OtherRoute, ...]) -> tuple[OtherRoute, ...]:
        if not any(route.origin == BIRD for route in routes):
            return routes
        learned = await self._learned()
        return tuple(
            msgspec.structs.replace(route, because=learned.get(route.key.prefix, ()))
            if route.origin == BIRD
            else route
            for route in routes
        )

    def _known(self) -> Known | None:
        compiler = self._compiler
        here, settings = compiler.here, compiler.settings
        if here is None:
            return None
        fabric, state = fabric_of(settings), compiler.state
        keys: list[Key] = [*state.table(RouteKey.table), *state.table(RuleKey.table)]
        return Known(
            here=here,
            peers=compiler.peers,
            pods=tuple(compiler.workloads.values()),
            services=tuple(p for each in compiler.service_ranges for p in each.prefixes),
            tunnels=tuple(tunnel.link for tunnel in fabric.tunnels(settings)),
            mtu=fabric.mtu(settings, here),
            mark=MASQUERADE,
            state={key: entry for key in keys if (entry := state.get(key)) is not None},
        )

"""The agent: watches the cluster and its own kernel, and keeps the second in step with the first.

    API ── nodes ──▶ feed ─┐
    kernel ── events ──────┤──▶ compiler, reconciler ──▶ sync: plan, apply, settle ──▶ kernel
    CNI server ── pods ────┤
    clock ── full pass ────┘

Everything but `apply` and `read` runs in the event loop's thread, so nothing needs a lock but
the kernel itself: one reader or writer of it at a time.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TypeVar

from steppe.agent import rpc
from steppe.agent.answers import Answers
from steppe.agent.cni_server import CniServer
from steppe.agent.flows import FlowEnder
from steppe.agent.gate import Gate
from steppe.agent.health_ports import HealthPortServer
from steppe.agent.install import install
from steppe.agent.known import node_from_kernel
from steppe.agent.log import line
from steppe.agent.metrics import Metrics, serving
from steppe.agent.nodes import NodeFeed
from steppe.agent.options import Options
from steppe.agent.policies import PolicyFeed
from steppe.agent.publish import Publisher
from steppe.agent.ranges import RangeFeed
from steppe.agent.reconciler import Reconciler
from steppe.agent.services import ServiceFeed
from steppe.client.client import Client
from steppe.client.informer import Replaced, WatchEvent, WatchStatus, watch
from steppe.client.resources import (
    ENDPOINTSLICES,
    NAMESPACES,
    NETWORKPOLICIES,
    NODES,
    PODS,
    SERVICECIDRS,
    SERVICES,
    Resource,
)
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.watch import Lost, Seen, Watch
from steppe.errors import SteppeError
from steppe.fabric.choose import pod_mtu
from steppe.kube import policy_wire, service_wire, wire
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Workload
from steppe.kube.services import HEADLESS_LABEL
from steppe.net.address import IPNetwork
from steppe.plan.diff import Change
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key, Value
from steppe.state.sysctl import SysctlKey

log = logging.getLogger("steppe.agent")
T = TypeVar("T")

COALESCE_SECONDS = 0.03
"""How long the kernel's notifications gather: a link that goes is announced bit by bit, and to
repair what is still going away would fail."""
RETRY_SECONDS = 1.0
"""How long what the kernel refused waits for its next try."""


class Agent:
    """One node's agent; `run` lasts until it is cancelled."""

    def __init__(self, options: Options, client: Client, kernel: KernelDriver, nft: Nft) -> None:
        self._options = options
        self._client = client
        self._kernel = kernel
        self._nft = nft
        self._kernel_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._retrying = False
        self.started = time.monotonic()
        self.compiler = NodeCompiler(options.settings, options.node)
        self.reconciler = Reconciler(self.compiler)
        self.feed = NodeFeed(self.compiler, options.node, kernel.underlay(()))
        self.services = ServiceFeed(self.compiler)
        self.policies = PolicyFeed(self.compiler)
        self.ranges = RangeFeed(self.compiler)
        self.health_ports = HealthPortServer(self.compiler)
        self.watch_status = WatchStatus()
        self.metrics = Metrics()
        self._gate = Gate(self.compiler, self.reconciler, lambda: self.trusted)
        self._cni = CniServer(self, self)

    @property
    def name(self) -> str:
        return self._options.node

    @property
    def prefixes(self) -> tuple[IPNetwork, ...]:
        """Where pods get their addresses from."""
        here = self.compiler.here
        return here.pod_cidrs if here is not None else ()

    @property
    def mtu(self) -> int:
        """The MTU of pods' links, in bytes."""
        here = self.compiler.here
        return pod_mtu(self._options.settings, here) if here else self.feed.underlay.mtu

    @property
    def problems(self) -> tuple[Problem, ...]:
        feeds = (self.feed, self.services, self.policies, self.ranges)
        sources = (*feeds, self.health_ports, self.compiler)
        return tuple(sorted({problem for source in sources for problem in source.problems}))

    @property
    def trusted(self) -> bool:
        """Whether all is known that the kernel depends on; half the truth would take away."""
        settings = self._options.settings
        services = (self.services.complete and self.ranges.complete) or not settings.services
        policies = self.policies.complete or not settings.policies
        return self.feed.trusted and services and policies

    def why_not_ready(self) -> str:
        """Why pods cannot be attached now; "" when they can."""
        here = self.compiler.here
        if here is None:
            return f"waiting for the API to tell of Node {self._options.node}"
        if not here.pod_cidrs:
            return f"Node {here.name} has no pod prefix yet"
        return ""

    async def run(self) -> None:
        """Start from what the kernel holds, then follow every source of events."""
        state_dir = self._options.state_dir
        with Watch(self._kernel.socket) as events, Conntrack() as conntrack:
            self._flows = FlowEnder(self.compiler, conntrack)
            await self._read()
            self._remember_node()
            async with (
                serving(self._options.metrics_listen, self.metrics, self.why_not_ready),
                self._cni.serving(state_dir / "cni.sock"),
                rpc.serving(state_dir / "agent.sock", Answers(self).answer),
                asyncio.TaskGroup() as tasks,
            ):
                for job in (
                    self._follow_nodes(),
                    *self._follow_services(),
                    *self._follow_policies(),
                    self._flows.run(),
                    self._follow_kernel(events),
                    self._sync(),
                    self._full_passes(),
                    self._install_cni(),
                    Publisher(self._client, self).run(),
                ):
                    tasks.create_task(job)

    def touch(self, keys: Iterable[Key]) -> None:
        """Entries may have changed: compare and apply them soon."""
        self.reconciler.touch(keys)
        self._wake.set()

    def attached(self, workload: Workload) -> None:
        """The CNI server has put a pod's tables into the kernel, exactly as they compile.

        All but its elements: those take part in transactions with everyone else's.
        """
        keys = self.compiler.set_workload(workload)
        elements = _elements(keys)
        self.reconciler.adopt(keys - elements)
        self.touch(elements)

    async def guarded(self, workload: Workload) -> None:
        await self._gate.wait(workload)

    def detached(self, link: str) -> None:
        """The CNI server has taken a pod's link away, and with it all that stood on it."""
        keys = self.compiler.remove_workload(link)
        elements = _elements(keys)
        self.reconciler.forget(keys - elements)
        self.touch(elements)

    def _remember_node(self) -> None:
        """What an earlier agent left in the kernel serves until the API has spoken."""
        underlay, actual = self.feed.underlay, self.reconciler.actual
        known = node_from_kernel(self._options.node, underlay, actual)
        if known is not None:
            self.compiler.set_node(known)

    async def _follow_nodes(self) -> None:
        events = watch(self._client, NODES, wire.Node, status=self.watch_status)
        async with contextlib.aclosing(events):
            async for event in events:
                began = time.monotonic()
                touched = self.feed.take(event)
                if isinstance(event, Replaced):
                    await self._see_underlay()
                    log.info(
                        line(
                            "listed",
                            nodes=len(event.items),
                            entries=len(self.compiler.state),
                            seconds=f"{time.monotonic() - began:.3f}",
                        )
                    )
                    # Now that the list says which settings matter; and what the kernel holds and
                    # nobody asks for any more has to go as well.
                    await self._read()
                if touched or isinstance(event, Replaced):
                    self.health_ports.changed()
                    self.touch(touched)

    def _follow_services(self) -> tuple[Coroutine[None, None, None], ...]:
        if not self._options.settings.services:
            return ()
        headless = f"!{HEADLESS_LABEL}"
        return (
            self._follow(SERVICES, service_wire.Service, self.services.take_service),
            self._follow(
                ENDPOINTSLICES, service_wire.EndpointSlice, self.services.take_slice, headless
            ),
            self._follow(SERVICECIDRS, service_wire.ServiceCIDR, self.ranges.take),
            self.health_ports.run(),
        )

    def _follow_policies(self) -> tuple[Coroutine[None, None, None], ...]:
        if not self._options.settings.policies:
            return ()
        feed = self.policies
        return (
            self._follow(PODS, wire.Pod, feed.take_pod),
            self._follow(NAMESPACES, policy_wire.Namespace, feed.take_namespace),
            self._follow(NETWORKPOLICIES, policy_wire.NetworkPolicy, feed.take_policy),
        )

    async def _follow(
        self,
        resource: Resource,
        type_: Callable[..., T],
        take: Callable[[WatchEvent[T]], frozenset[Key]],
        label_selector: str = "",
    ) -> None:
        events = watch(self._client, resource, type_, label_selector=label_selector)
        async with contextlib.aclosing(events):
            async for event in events:
                self.touch(take(event))
                if resource is SERVICES or isinstance(event, Replaced):
                    self.health_ports.changed()

    async def _follow_kernel(self, watch: Watch) -> None:
        async for events in watch.events():
            for event in events:
                if isinstance(event, Seen):
                    self._observe(event)
                elif event.link:
                    self.reconciler.lose(event.link)
                else:
                    await self._read_again(event)
            asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._wake.set)

    def _observe(self, event: Seen) -> None:
        if event.foreign and event.key not in self.compiler.state:
            return
        if self.reconciler.observe(event.key, event.value) and self.feed.trusted:
            self.metrics.repairs.labels(event.key.table).inc()

    async def _read_again(self, event: Lost) -> None:
        log.info(line("reading-again", why=event.reason))
        await self._read()

    async def _sync(self) -> None:
        """Whenever something may differ: plan, apply, remember what failed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.trusted:
                await self._sync_once()

    async def _sync_once(self) -> None:
        async with self._kernel_lock:
            plan = self.reconciler.plan()
            if plan.changes:
                # Asked now: what is asked for may be another thing once the kernel has answered.
                because = {c.key: self.reconciler.because(c) for c in plan.changes}
                with self.metrics.apply_seconds.time():
                    failures = await asyncio.to_thread(self._kernel.apply, plan.changes)
                self.reconciler.settle(plan.changes, failures)
                self._tell(plan.changes, because)
                self._flows.changed(change.key for change in plan.changes)
        for workload in plan.lost:
            await self._attach_again(workload)
        await self._gate.synced()
        self._measure()
        if not self.why_not_ready() and not self._ready.is_set():
            self._ready.set()
            self._flows.changed(self.compiler.state)
        if self.reconciler.failed and not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)

    async def _attach_again(self, workload: Workload) -> None:
        """A pod's link was removed by hand, or went with its pod: only the CNI server can tell."""
        try:
            there = await self._cni.repair(workload)
        except SteppeError as error:
            log.error(line("attach-failed", pod=workload.ref, link=workload.link, error=error))
            asyncio.get_running_loop().call_later(
                RETRY_SECONDS, self.touch, [LinkKey(workload.link)]
            )
            return
        if there:
            self.attached(workload)
            log.info(line("attached-again", pod=workload.ref, link=workload.link))

    def _retry(self) -> None:
        self._retrying = False
        self.reconciler.retry()
        self._wake.set()

    async def _full_passes(self) -> None:
        while True:
            await asyncio.sleep(self._options.resync)
            await self._see_underlay()
            await self._read()
            self._wake.set()

    async def _see_underlay(self) -> None:
        here = self.compiler.here
        addresses = here.addresses if here is not None else ()
        self.touch(self.feed.see_underlay(self._kernel.underlay(addresses)))

    async def _read(self) -> None:
        async with self._kernel_lock:
            self.reconciler.replace_actual(await asyncio.to_thread(self._look))

    def _look(self) -> dict[Key, Value]:
        if self._nft.ensure():
            log.info(line("ruleset", table="inet steppe", action="made as it shall be"))
        settings = [key for key in tuple(self.compiler.state) if isinstance(key, SysctlKey)]
        return self._kernel.read(settings)

    async def look(self) -> dict[Key, Value]:
        """All that the kernel holds of ours, read anew."""
        async with self._kernel_lock:
            return await asyncio.to_thread(self._look)

    async def repair(self, seen: dict[Key, Value]) -> None:
        """Make a kernel that holds `seen` agree, at once."""
        self.reconciler.replace_actual(seen)
        await self._sync_once()

    async def _install_cni(self) -> None:
        """Offer the plugin to the runtime once pods can be attached, and not before."""
        bin_dir, conf_dir = self._options.cni_bin, self._options.cni_conf
        if bin_dir is None or conf_dir is None:
            return
        await self._ready.wait()
        await asyncio.to_thread(install, bin_dir, conf_dir, self._options.state_dir / "cni.sock")
        log.info(line("installed", plugin=bin_dir, configuration=conf_dir))

    def _tell(self, changes: Sequence[Change], because: dict[Key, tuple[Cause, ...]]) -> None:
        """One line a change, with the objects that asked for it."""
        for change in changes:
            failed = self.reconciler.failed.get(change.key)
            verb = "delete" if change.new is None else "replace" if change.old else "add"
            fields = {
                "table": change.key.table,
                "key": change.key,
                "value": change.old if change.new is None else change.new,
                "cause": ", ".join(map(str, because[change.key])) or "nothing asks for it",
            }
            if failed is not None:
                log.error(line(f"{verb}-failed", **fields, error=failed.error))
            else:
                log.info(line(verb, **fields))
                self.metrics.changes.labels(change.key.table, verb).inc()

    def _measure(self) -> None:
        counts: dict[str, int] = {}
        for key in self.compiler.state:
            counts[key.table] = counts.get(key.table, 0) + 1
        for table, count in counts.items():
            self.metrics.entries.labels(table).set(count)
        self.metrics.failed.set(len(self.reconciler.failed))
        self.metrics.problems.set(len(self.problems))
        self.metrics.in_sync.set(0 if self.reconciler.failed else 1)
        self.metrics.api_synced.set(1 if self.watch_status.synced_since is not None else 0)


def _elements(keys: Iterable[Key]) -> frozenset[Key]:
    return frozenset(key for key in keys if isinstance(key, ElementKey))

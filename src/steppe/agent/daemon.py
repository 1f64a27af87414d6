"""The agent: watches the cluster and its own kernel, and keeps the second in step with the first.

API ── lists, events ──▶ feeds ─┐
CNI server ── pods ─────────────┼──▶ compiler ──▶ keeper ──▶ kernel
clock ── full pass ─────────────┘
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable

from steppe.agent import rpc
from steppe.agent.answers import Answers
from steppe.agent.cni.gate import Gate
from steppe.agent.cni.install import install
from steppe.agent.cni.server import CniServer
from steppe.agent.denied.denied import Denials, read
from steppe.agent.denied.samples import Samples
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.health.metrics import Metrics, serving
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.agent.log import line
from steppe.agent.node.bootstrap import node_from_kernel
from steppe.agent.node.flows import FlowEnder
from steppe.agent.node.keeper import RETRY_SECONDS, Keeper
from steppe.agent.node.policy_flows import PolicyFlowEnder
from steppe.agent.options import Options
from steppe.agent.publish import Publisher
from steppe.client.client import Client
from steppe.client.events import EventRecorder
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nftables.counters import Counters
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.watch import Watch
from steppe.errors import SteppeError
from steppe.fabric.choose import pod_mtu
from steppe.kube.cause import Problem
from steppe.kube.objects import Workload
from steppe.net.address import IPNetwork
from steppe.plan.diff import Change
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")


class Agent:
    """One node's agent; `run` lasts until it is cancelled."""

    def __init__(self, options: Options, client: Client, kernel: KernelDriver, nft: Nft) -> None:
        self._options = options
        self._client = client
        self._kernel = kernel
        self._nft = nft
        self._ready = asyncio.Event()
        self.started = time.monotonic()
        self.compiler = NodeCompiler(options.settings, options.node)
        self.metrics = Metrics()
        self.keeper = Keeper(self.compiler, kernel, nft, self.metrics, self, repair=options.repair)
        proxy_health = ProxyHealth(
            options.node,
            options.proxy_health_listen,
            busy=lambda: self.keeper.busy,
            leaving=lambda: self.feeds.nodes.leaving,
        )
        self.feeds = Feeds(client, self.compiler, kernel.underlay(()), proxy_health)
        self.samples = Samples(self.compiler, lambda: self.feeds.policies.pods)
        self._gate = Gate(self.compiler, self.keeper.reconciler, lambda: self.trusted)
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
        settings = self._options.settings
        return pod_mtu(settings, here) if here else self.feeds.nodes.underlay.mtu

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(sorted({*self.feeds.problems, *self.compiler.problems}))

    @property
    def trusted(self) -> bool:
        return self.feeds.trusted

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
        with (
            Watch(self._kernel.socket) as tables,
            self._nft.watch() as ruleset,
            Conntrack() as conntrack,
            Conntrack() as judged,
            Counters(SKELETON.table) as counters,
        ):
            self.denials = Denials(self.compiler, lambda: read(counters), self.metrics.denied)
            self._flows = FlowEnder(self.compiler, conntrack)
            self._policy_flows = PolicyFlowEnder(self.compiler, judged)
            recorder = EventRecorder(self._client, "steppe-agent", self.name)
            await self.keeper.read()
            self._remember_node()
            async with (
                serving(self._options.metrics_listen, self.metrics, self.why_not_ready),
                self._cni.serving(state_dir / "cni.sock"),
                rpc.serving(state_dir / "agent.sock", Answers(self).answer),
                asyncio.TaskGroup() as tasks,
            ):
                for job in (
                    *self.feeds.jobs(self),
                    self._flows.run(),
                    self._policy_flows.run(),
                    self.denials.run(),
                    self.keeper.follow(tables.events()),
                    self.keeper.follow(ruleset.events()),
                    self.keeper.run(),
                    self._full_passes(),
                    self._install_cni(),
                    Publisher(self._client, self.compiler, self.feeds, recorder).run(),
                ):
                    tasks.create_task(job)

    def touch(self, keys: Iterable[Key]) -> None:
        """Entries may have changed: compare and apply them soon."""
        self.keeper.touch(keys)

    async def nodes_listed(self) -> None:
        """The list says which settings matter; what nobody asks for any more has to go as well."""
        await self._see_underlay()
        await self.keeper.read_settings()

    def attached(self, workload: Workload) -> None:
        """The CNI server has put a pod's tables into the kernel, exactly as they compile.

        All but its elements: those take part in transactions with everyone else's.
        """
        keys = self.compiler.set_workload(workload)
        elements = _elements(keys)
        self.keeper.reconciler.adopt(keys - elements)
        self.touch(elements)

    async def guarded(self, workload: Workload) -> None:
        await self._gate.wait(workload)

    def detached(self, link: str) -> None:
        """The CNI server has taken a pod's link away, and with it all that stood on it."""
        keys = self.compiler.remove_workload(link)
        elements = _elements(keys)
        self.keeper.reconciler.forget(keys - elements)
        self.touch(elements)

    def applied(self, keys: Collection[Key]) -> None:
        self._flows.changed(keys)
        self._policy_flows.changed(keys)

    async def lost(self, workload: Workload) -> None:
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

    async def inner_faults(self) -> list[tuple[Workload, Change]]:
        """What inside pods is not as they were attached."""
        found: list[tuple[Workload, Change]] = []
        for workload in tuple(self.compiler.workloads.values()):
            found += ((workload, fault) for fault in await self._cni.inner_faults(workload))
        return found

    async def in_step(self) -> None:
        await self._gate.synced()
        self._measure()
        if not self.why_not_ready() and not self._ready.is_set():
            self._ready.set()
            self._flows.changed(self.compiler.state)
            self._policy_flows.changed(self.compiler.state)

    def _remember_node(self) -> None:
        """What an earlier agent left in the kernel serves until the API has spoken."""
        underlay, actual = self.feeds.nodes.underlay, self.keeper.reconciler.actual
        known = node_from_kernel(self._options.node, underlay, actual)
        if known is not None:
            self.compiler.set_node(known)

    async def _full_passes(self) -> None:
        while True:
            await asyncio.sleep(self._options.resync)
            await self._see_underlay()
            if self._options.repair:
                await self.keeper.read()
                self.touch(())

    async def _see_underlay(self) -> None:
        here = self.compiler.here
        addresses = here.addresses if here is not None else ()
        self.touch(self.feeds.nodes.see_underlay(self._kernel.underlay(addresses)))

    async def _install_cni(self) -> None:
        """Offer the plugin to the runtime once pods can be attached, and not before."""
        bin_dir, conf_dir = self._options.cni_bin, self._options.cni_conf
        if bin_dir is None or conf_dir is None:
            return
        await self._ready.wait()
        await asyncio.to_thread(install, bin_dir, conf_dir, self._options.state_dir / "cni.sock")
        log.info(line("installed", plugin=bin_dir, configuration=conf_dir))

    def _measure(self) -> None:
        self.metrics.count(self.compiler.state.counts())
        failed = self.keeper.reconciler.failed
        self.metrics.failed.set(len(failed))
        self.metrics.problems.set_function(lambda: len(self.problems))  # counted when asked
        self.metrics.in_sync.set(0 if failed else 1)
        self.metrics.api_synced.set(1 if self.feeds.status.synced_since is not None else 0)


def _elements(keys: Iterable[Key]) -> frozenset[Key]:
    return frozenset(key for key in keys if isinstance(key, ElementKey))

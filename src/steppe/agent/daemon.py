"""The agent of one node: this module connects its parts and does nothing else.

Events flow in one direction; no part calls back:

    API ──lists, events──▶ feeds ─────────────────┐
    links, addresses ──▶ node.underlay ──▶ feeds ─┼─▶ compiler ──touched keys──▶ node.keeper
    runtime ──cni.sock──▶ cni.server ──▶ cni.pods ┘                                 │   ▲
                                                                            changes │   │ events,
                                                                                    ▼   │ readings
        results of the changes: node.outcome ◀───────────────────────────────────────── kernel
         ├─▶ node.flows, node.policy_flows ──▶ tracked flows
         ├─▶ node.lost ──▶ cni.pods: Reattaching ──▶ cni.server
         └─▶ node.passes ──▶ cni.gate, node.gauges, cni.install

With the fabric bgp, `bgp` is woken by each event as well, and runs BIRD beside all this.

Questions are answered from this state and change nothing: `answers` and `node.audit` over
agent.sock (`server`), metrics and proxy health over TCP. `publish` and `report` write to the API.

Everything that runs is a Job; the supervisor restarts each job by itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from steppe.agent.answers import Answers
from steppe.agent.bgp.bgp import Bgp
from steppe.agent.cni.attach import Attachments
from steppe.agent.cni.gate import Gate
from steppe.agent.cni.install import install
from steppe.agent.cni.pods import AttachedPods, Reattaching
from steppe.agent.cni.server import CniServer
from steppe.agent.cni.trial import Trial
from steppe.agent.denied.denied import Denials, read
from steppe.agent.denied.samples import Samples
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.health.metrics import Metrics, serve
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.agent.health.proxy_mode import answer_mode
from steppe.agent.hurry import Hurry
from steppe.agent.kernel import Kernel
from steppe.agent.log import line
from steppe.agent.loop_errors import LoopErrors
from steppe.agent.node.audit import Audit
from steppe.agent.node.flows import FlowEnder
from steppe.agent.node.gauges import Gauges
from steppe.agent.node.here import Here, own_addresses
from steppe.agent.node.keeper import Keeper
from steppe.agent.node.listening import FeedListener
from steppe.agent.node.lost import LostPods
from steppe.agent.node.outcome import Outcome
from steppe.agent.node.passes import Passes
from steppe.agent.node.policy_flows import PolicyFlowEnder
from steppe.agent.node.readings import FullPasses, Start
from steppe.agent.node.surroundings import Observer
from steppe.agent.node.underlay import UnderlayView
from steppe.agent.options import Options
from steppe.agent.publish import Publisher
from steppe.agent.report import Reporter
from steppe.agent.server import AgentServer
from steppe.agent.supervisor import Job, Supervisor
from steppe.client.client import Client
from steppe.client.events import EventRecorder
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Problem

log = logging.getLogger("steppe.agent")

NEEDED_BY_PODS = ("start", "keeper", "cni-socket")
"""Jobs that attaching pods needs: while one of them fails, the node is not ready."""
READY_SECONDS = 1.0
"""Seconds between two checks whether pods can be attached, without a pass over the kernel."""


class Pipeline:
    """The parts that an event passes, from the API and the CNI plugin to the kernel and on."""

    def __init__(self, options: Options, client: Client, kernel: Kernel, metrics: Metrics) -> None:
        compiler = self.compiler = NodeCompiler(options.settings, options.node)
        self.underlay = UnderlayView(options.node, kernel.underlay, lambda: own_addresses(compiler))
        self.here = Here(compiler, self.underlay)
        # Called only by requests, which come after all of this is connected.
        proxy_health = ProxyHealth(
            options.node,
            options.proxy_health_listen,
            busy=lambda: self.keeper.busy,
            leaving=lambda: self.feeds.nodes.leaving,
        )
        hurry = Hurry()
        feeds = self.feeds = Feeds(client, compiler, self.underlay.value, proxy_health, hurry)
        self.flows = FlowEnder(compiler, kernel.flows)
        self.policy_flows = PolicyFlowEnder(compiler, kernel.judged_flows)
        self.lost, self.passes = LostPods(), Passes()
        outcome = Outcome(
            compiler=compiler,
            complete=lambda: feeds.trusted,
            attachable=lambda: not self.here.why_not_ready(),
            flows=self.flows,
            policy_flows=self.policy_flows,
            lost=self.lost,
            passes=self.passes,
        )
        self.keeper = Keeper(compiler, kernel.driver, metrics, outcome, repair=options.repair)
        gate = Gate(compiler, self.keeper.reconciler, lambda: feeds.trusted, self.passes)
        pods = AttachedPods(compiler, self.keeper, gate)
        attachments = Attachments(self.here, kernel.pods, kernel.namespaces)
        self.trial = Trial(self.here, kernel.trial, self.passes)
        self.cni = CniServer(self.here, pods, attachments, trial=self.trial, hurry=hurry)
        self.reattaching = Reattaching(self.lost, self.cni, pods, self.keeper)
        self.bgp = Bgp(options, compiler, feeds)
        self.listener = FeedListener(feeds, self.keeper, self.underlay, also=self.bgp.wake)


class Agent:
    """One node's agent; `run` lasts until it is cancelled, and raises only for a bug in it."""

    def __init__(self, options: Options, client: Client, kernel: Kernel) -> None:
        self._options = options
        self._kernel = kernel
        self._metrics = metrics = Metrics()
        self.supervisor = Supervisor(
            options.node, failed=lambda job: metrics.job_failures.labels(job).inc()
        )
        self.loop_errors = LoopErrors(options.node)
        pipeline = self.pipeline = Pipeline(options, client, kernel, metrics)
        compiler, keeper, feeds = pipeline.compiler, pipeline.keeper, pipeline.feeds
        underlay = pipeline.underlay
        self._start = Start(
            compiler, keeper, underlay, feeds.ranges.remember, pipeline.cni.clean_up
        )
        self._full_passes = FullPasses(
            keeper, pipeline.listener.look, options.resync, repair=options.repair
        )
        self._gauges = Gauges(
            metrics, compiler, keeper.reconciler, lambda: feeds.out_of_sync, self.problems
        )
        observer = Observer(compiler, kernel.inspection, pipeline.cni.in_pod, pipeline.bgp.learned)
        self._denials = Denials(compiler, lambda: read(kernel.counters), metrics.denied)
        answers = self._answers(observer)
        looked_at = (compiler, keeper, pipeline.cni.inner_faults, kernel.inspection, observer)
        self._server = AgentServer(
            options.state_dir / "agent.sock",
            answers,
            Audit(*looked_at, sessions=pipeline.bgp.missing),
            Samples(compiler, lambda: feeds.policies.pods),
            bgp=pipeline.bgp.document,
        )
        self._events = EventRecorder(client, "steppe-agent", options.node)
        self._publisher = Publisher(
            *(client, compiler, feeds, self._events, underlay),
            sessions=lambda: pipeline.bgp.problems,
        )
        self._reporter = Reporter(client, options.node, answers.brief, self._signs)

    def _answers(self, observer: Observer) -> Answers:
        pipeline = self.pipeline
        return Answers(
            compiler=pipeline.compiler,
            keeper=pipeline.keeper,
            observer=observer,
            feeds=pipeline.feeds,
            denials=self._denials,
            why_not_ready=self.why_not_ready,
            problems=self.problems,
        )

    def problems(self) -> tuple[Problem, ...]:
        """All current Problems: of objects, of the node's underlay, of jobs."""
        pipeline = self.pipeline
        sources = (
            pipeline.feeds,
            pipeline.compiler,
            pipeline.underlay,
            pipeline.bgp,
            self.supervisor,
            self.loop_errors,
        )
        return tuple(sorted({problem for source in sources for problem in source.problems}))

    def why_not_ready(self) -> str:
        """Why pods cannot be attached now; "" if they can."""
        failing = [job for job in NEEDED_BY_PODS if self.supervisor.is_failing(job)]
        if failing:
            return f"the agent's job {failing[0]} fails and is tried again"
        if not self._start.done.is_set():
            return "the kernel is being read"
        return self.pipeline.here.why_not_ready() or self.pipeline.trial.why

    def _signs(self) -> tuple[object, ...]:
        """What is wrong now, for the reporter."""
        pipeline = self.pipeline
        refused = len(pipeline.keeper.reconciler.failed)
        return (self.why_not_ready(), pipeline.feeds.out_of_sync, refused, self.problems())

    async def run(self) -> None:
        """Read the kernel first, then follow every source of events."""
        asyncio.get_running_loop().set_exception_handler(self.loop_errors.note)
        try:
            async with asyncio.TaskGroup() as tasks:
                # The agent answers questions from the beginning, also about why it is not ready.
                for job in self.edges():
                    tasks.create_task(self.supervisor.one(job), name=job.name)
                await self.supervisor.one(Job("start", self._start.run, lasts=False))
                for job in self.jobs():
                    tasks.create_task(self.supervisor.one(job), name=job.name)
        finally:
            self.pipeline.cni.close()

    def edges(self) -> Iterator[Job]:
        """The jobs that answer questions about the agent."""
        listen, metrics = self._options.metrics_listen, self._metrics
        yield Job("metrics", lambda: serve(listen, metrics, self.why_not_ready))
        yield Job("agent-socket", self._server.run)
        port = self._options.proxy_mode_port
        if port and self._options.settings.services:
            yield Job("proxy-mode", lambda: answer_mode(port))

    def jobs(self) -> Iterable[Job]:
        """The jobs that run after the kernel has been read."""
        pipeline, kernel = self.pipeline, self._kernel
        socket = self._options.state_dir / "cni.sock"
        return (
            *pipeline.feeds.jobs(pipeline.listener),
            Job("underlay", lambda: pipeline.underlay.follow(pipeline.listener.see)),
            Job("cni-socket", lambda: pipeline.cni.run(socket, self._turned("cni-socket"))),
            Job("trial", pipeline.trial.run),
            Job("keeper", lambda: pipeline.keeper.run(self._turned("keeper"))),
            Job("kernel-events", lambda: pipeline.keeper.follow(kernel.events.events())),
            Job("full-passes", self._full_passes.run),
            Job("lost-pods", pipeline.reattaching.run),
            Job("stale-flows", pipeline.flows.run),
            Job("forbidden-flows", pipeline.policy_flows.run),
            Job("denied-packets", self._denials.run),
            Job("gauges", lambda: self._gauges.run(pipeline.passes)),
            Job("cni-install", self._install_cni, lasts=False),
            *pipeline.bgp.jobs(),
            Job("publish", self._publisher.run),
            Job("report", lambda: self._reporter.run(self._turned("report"))),
            Job("events", self._events.run),
        )

    def _turned(self, job: str) -> Callable[[], None]:
        return partial(self.supervisor.turned, job)

    async def _install_cni(self) -> None:
        """Install the plugin for the runtime once pods can be attached."""
        bin_dir, conf_dir = self._options.cni_bin, self._options.cni_conf
        if bin_dir is None or conf_dir is None:
            return
        await self.pipeline.trial.passed.wait()
        while self.why_not_ready():
            # The recovery of a job can make the node ready without a pass over the kernel.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS):
                    await self.pipeline.passes.until(lambda: not self.why_not_ready())
        socket, program = self._options.state_dir / "cni.sock", self._options.cni_plugin
        await asyncio.to_thread(install, bin_dir, conf_dir, socket, program)
        log.info(line("installed", plugin=bin_dir, configuration=conf_dir))

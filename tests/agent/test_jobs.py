"""Every job of the agent with a fault of its own: told, tried again, and well once it is mended.

What a job stands on is handed in, and fails for as long as the test wants it to.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steppe.agent import publish, unix_socket
from steppe.agent.daemon import NEEDED_BY_PODS, Agent
from steppe.agent.kernel import Kernel
from steppe.agent.node.readings import Start
from steppe.agent.options import parse
from steppe.agent.supervisor import Job, Supervisor
from steppe.client.errors import ApiError
from steppe.client.events import ObjectReference
from steppe.client.informer import Backoff, Replaced
from steppe.drivers.errors import KernelError
from steppe.drivers.fake import FakeKernel
from steppe.drivers.fake_namespaces import FakeNamespaces
from steppe.drivers.namespaces import TrialNode
from steppe.kube import wire
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_address, parse_interface, parse_prefix
from steppe.state.nft import ElementKey
from tests.agent.test_services_flows import DNS, OLD, slice_
from tests.waiting import patience, until_async

PREFIXES = pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")])
NODE = Node("node-a", "", PREFIXES, (parse_address("192.0.2.11"),))
UNDERLAY = Underlay("eth0", 1500, (parse_interface("192.0.2.11/24"),))
EMFILE = OSError(24, "Too many open files")
CHANGING = KernelError("read tables", 4, "the tables changed during each of 10 attempts")


class World:
    """An agent over a kernel and an API that fail while there is an `error`."""

    def __init__(self, folder: Path, metrics: str) -> None:
        self.error: Exception | None = None
        self.calls = 0
        """How many calls went well."""
        self.state = folder / "state"
        self.cni = folder / "cni"
        flags = ("--metrics-listen", metrics, "--proxy-health-listen", "", "--resync", "0.05")
        flags = (*flags, "--proxy-mode-port", "0")
        places = ("--cni-bin", str(self.cni / "bin"), "--cni-conf", str(self.cni / "net.d"))
        state = ("--state-dir", str(self.state))
        kernel: Any = Kernel(
            driver=Faulty(self, read={}, ensure=(), apply=()),
            events=Faulty(self),
            pods=SimpleNamespace(close=lambda: None),
            namespaces=Faulty(self),
            trial=self.trial_node,
            underlay=Faulty(self, read=UNDERLAY),
            flows=Faulty(self, flows=()),
            judged_flows=Faulty(self, flows=()),
            counters=Faulty(self, packets={}),
            inspection=Faulty(self),
        )
        client: Any = FaultyClient(self)
        options = parse(["--node", NODE.name, *flags, *places, *state])
        self.agent = Agent(options, client, kernel)
        self.agent.supervisor = Supervisor(NODE.name, backoff=lambda: Backoff(0.01, 0.01))

    @contextlib.contextmanager
    def trial_node(self) -> Iterator[TrialNode]:
        """A node in memory, which fails as all else does."""
        self.check()
        host = FakeKernel()
        namespaces = FakeNamespaces(host)
        namespaces.make("/trial")
        yield TrialNode(host, namespaces, "/trial")

    def check(self) -> None:
        if self.error is not None:
            raise self.error
        self.calls += 1

    def jobs(self) -> dict[str, Job]:
        pipeline = self.agent.pipeline
        start = Start(
            pipeline.compiler,
            pipeline.keeper,
            pipeline.underlay,
            pipeline.feeds.ranges.remember,
            self.cleaned_up,
        )
        # The agent's own would look at the links of the machine that the test runs on.
        known = (Job("start", start.run, lasts=False), *self.agent.edges(), *self.agent.jobs())
        return {job.name: job for job in known}

    async def cleaned_up(self) -> None:
        self.check()

    def breaking(self, job: Job) -> Job:
        """A job that stands on nothing that could fail: its own first line does."""

        async def run() -> None:
            self.check()
            await job.run()

        return Job(job.name, run, job.lasts)


class Faulty:
    """A driver or a watch, whichever: a call answers what was given for it, or fails."""

    def __init__(self, world: World, **answers: Any) -> None:
        self._world = world
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: object) -> Any:
            self._world.check()
            return self._answers.get(name)

        return call

    async def events(self) -> AsyncIterator[Any]:
        self._world.check()
        await asyncio.Event().wait()
        yield ()


class FaultyClient:
    """An API server with nothing in it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def pages_of(self, *_: object, **__: object) -> AsyncIterator[Any]:
        self._world.check()
        yield SimpleNamespace(metadata=SimpleNamespace(resource_version="1"), items=())

    async def lines(self, *_: object, **__: object) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield b""

    async def create(self, *_: object, **__: object) -> dict[str, Any]:
        self._world.check()
        return {"metadata": {"uid": "1"}}

    patch = get = create


async def is_listed(world: World) -> None:
    """The API has told of this node, so the kernel may be changed."""
    feeds = world.agent.pipeline.feeds
    seen = wire.Node(metadata=wire.ObjectMeta(name=NODE.name))
    feeds.nodes.take(Replaced((seen,)))


async def keeps(world: World) -> None:
    """All is known, and something is to be changed."""
    pipeline = world.agent.pipeline
    await is_listed(world)
    pipeline.feeds.services.take_service(Replaced(()))
    pipeline.feeds.services.take_slice(Replaced(()))
    pipeline.feeds.ranges.take(Replaced(()))
    for take in ("pod", "namespace", "policy", "cluster_policy"):
        getattr(pipeline.feeds.policies, f"take_{take}")(Replaced(()))
    pipeline.keeper.touch(pipeline.compiler.set_node(NODE))


async def has_stale_flows(world: World) -> None:
    compiler = world.agent.pipeline.compiler
    compiler.set_node(NODE)
    compiler.set_service(DNS)
    world.agent.pipeline.flows.changed(compiler.set_slice(slice_(OLD)))


async def has_forbidden_flows(world: World) -> None:
    world.agent.pipeline.policy_flows.changed([ElementKey("ingress_guarded4", (OLD,))])


async def publishes(world: World) -> None:
    await is_listed(world)
    world.agent.pipeline.underlay.known = True


async def has_an_event(world: World) -> None:
    about = ObjectReference("v1", "Node", NODE.name)
    world.agent._events.event(about, "Warning", "NotServed", "no")


async def can_attach(world: World) -> None:
    world.agent._start.done.set()
    world.agent.pipeline.compiler.set_node(NODE)
    await world.agent.pipeline.trial.attempt()


async def nothing(_: World) -> None:
    pass


Prepare = Callable[[World], Awaitable[None]]
KINDS = (
    *("nodes", "services", "endpointslices", "servicecidrs", "pods", "namespaces"),
    *("networkpolicies", "clusternetworkpolicies"),
)
KERNEL: dict[str, tuple[Prepare, Exception]] = {
    **{f"follow-{kind}": (nothing, EMFILE) for kind in KINDS},
    "start": (nothing, CHANGING),
    "underlay": (nothing, EMFILE),
    "keeper": (keeps, CHANGING),
    "kernel-events": (nothing, EMFILE),
    "full-passes": (nothing, CHANGING),
    "stale-flows": (has_stale_flows, KernelError("list flows", 105)),
    "forbidden-flows": (has_forbidden_flows, KernelError("list flows", 105)),
    "denied-packets": (nothing, EMFILE),
    "report": (nothing, ApiError(403, "Forbidden", "patch leases")),
    "publish": (publishes, ApiError(403, "Forbidden", "patch nodes")),
    "events": (has_an_event, EMFILE),
}
"""What each job waits for, and how what it stands on fails."""
NOTHING_TO_FAIL = (
    "departed-nodes",
    "policy-work",
    "service-work",
    "health-check-ports",
    "proxy-health",
    "lost-pods",
    "trial",
    "gauges",
)
"""Jobs that answer for all the errors they know of: shown by their own tests."""
PLACES: dict[str, tuple[Prepare, Callable[[World], Path]]] = {
    "agent-socket": (nothing, lambda world: world.state),
    "cni-socket": (nothing, lambda world: world.state),
    "cni-install": (can_attach, lambda world: world.cni),
}
"""Jobs that make files: something else is in the place of the folder."""


@pytest.fixture
def port() -> AsyncIterator[socket.socket]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


@pytest.fixture
async def world(
    tmp_path: Path, port: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(publish, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(unix_socket, "LOOK_SECONDS", 0.01)
    made = World(tmp_path, "{}:{}".format(*port.getsockname()))
    yield made
    made.error = None
    made.agent.pipeline.cni.close()


@contextlib.asynccontextmanager
async def supervised(world: World, job: Job) -> AsyncIterator[None]:
    async with asyncio.timeout(patience(90)), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.agent.supervisor.one(job))
        yield
        task.cancel()


async def is_told(world: World, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> bool:
        return world.agent.supervisor.is_failing(job.name)

    await until_async(fails, 30, f"{job.name} fails")
    (problem,) = world.agent.supervisor.problems
    assert problem in world.agent.problems()
    assert str(problem.cause) == "Node/node-a"
    assert f"job {job.name} failed" in problem.message
    assert f"job-failed job={job.name} error=" in caplog.text
    assert "Traceback" not in caplog.text


def test_every_job_is_shown_to_fail_here(world: World) -> None:
    assert sorted(world.jobs()) == sorted((*KERNEL, *NOTHING_TO_FAIL, *PLACES, "metrics"))


@pytest.mark.parametrize("name", [*KERNEL, *NOTHING_TO_FAIL])
async def test_a_job_goes_on_when_what_it_stands_on_works_again(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    prepare, error = KERNEL.get(name, (nothing, EMFILE))
    job = world.jobs()[name]
    if name in NOTHING_TO_FAIL:
        job = world.breaking(job)
    await prepare(world)
    world.error = error
    async with supervised(world, job):
        await is_told(world, job, caplog)
        before = world.calls
        world.error = None
        await prepare(world)

        async def works() -> bool:
            return world.calls > before

        await until_async(works, 30, f"{name} works again")


@pytest.mark.parametrize("name", NEEDED_BY_PODS)
async def test_what_pods_need_is_well_as_soon_as_it_has_done_one_turn(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    world.agent.supervisor = Supervisor(NODE.name, backoff=lambda: Backoff(0.01, 0.01), steady=3600)
    prepare, error = KERNEL.get(name, (nothing, EMFILE))
    job = world.jobs()[name]
    if name == "cni-socket":
        job = world.breaking(job)
    await prepare(world)
    world.error = error
    async with supervised(world, job):
        await is_told(world, job, caplog)
        world.error = None
        await prepare(world)

        async def is_well() -> bool:
            return not world.agent.supervisor.is_failing(name)

        await until_async(is_well, 30, f"{name} is well")


@pytest.mark.parametrize("name", PLACES)
async def test_a_job_whose_folder_cannot_be_had_is_tried_until_it_can(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    prepare, place = PLACES[name]
    await prepare(world)
    place(world).write_text("a file where the folder should be")
    job = world.jobs()[name]
    async with supervised(world, job):
        await is_told(world, job, caplog)
        place(world).unlink()

        async def is_there() -> bool:
            return place(world).is_dir() and any(place(world).rglob("*"))

        await until_async(is_there, 30, f"{name} has what it needs")


async def test_a_port_in_use_is_tried_until_it_is_free(
    world: World, caplog: pytest.LogCaptureFixture, port: socket.socket
) -> None:
    job = world.jobs()["metrics"]
    address = port.getsockname()
    async with supervised(world, job):
        await is_told(world, job, caplog)
        port.close()

        async def is_served() -> bool:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until_async(is_served, 30, "metrics are served")


@pytest.mark.parametrize("name", ["agent-socket", "cni-socket"])
async def test_a_socket_whose_folder_is_removed_is_made_again(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    job = world.jobs()[name]
    path = world.state / ("agent.sock" if name == "agent-socket" else "cni.sock")

    async def is_there() -> bool:
        return path.exists()

    async def is_logged() -> bool:
        return f"job-failed job={name} error=" in caplog.text

    async with supervised(world, job):
        await until_async(is_there, 30, "the socket is there")
        path.unlink()
        world.state.rmdir()
        await until_async(is_logged, 30, "the log tells of it")
        await until_async(is_there, 30, "the socket is there again")


@pytest.mark.parametrize("name", [*KERNEL, *NOTHING_TO_FAIL, *PLACES, "metrics"])
async def test_an_error_that_no_job_expects_ends_the_agent(world: World, name: str) -> None:
    job = world.breaking(world.jobs()[name])
    world.error = ZeroDivisionError("a bug of ours")
    with pytest.raises(ExceptionGroup) as raised:
        async with supervised(world, job):
            await asyncio.Event().wait()
    assert raised.value.exceptions == (world.error,)
    assert world.agent.supervisor.problems == ()


async def test_a_node_is_not_ready_while_a_job_that_pods_need_fails(world: World) -> None:
    await can_attach(world)
    assert world.agent.why_not_ready() == ""
    world.error = CHANGING
    job = world.breaking(world.jobs()["keeper"])
    async with supervised(world, job):

        async def is_ready() -> bool:
            return not world.agent.why_not_ready()

        async def is_not_ready() -> bool:
            return not await is_ready()

        await until_async(is_not_ready, 30, "the node is not ready")
    assert world.agent.why_not_ready() == "the agent's job keeper fails and is tried again"

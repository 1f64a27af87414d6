"""A keeper over a kernel in memory, with what becomes of its work written down."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from steppe.agent.health.metrics import Metrics
from steppe.agent.node.keeper import Keeper
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.driver import Composite, Fault
from steppe.drivers.fake import FakeKernel
from steppe.kube.objects import Workload
from steppe.settings import Settings
from steppe.state.node import Key, values
from steppe.state.route import RouteKey
from tests.waiting import patience
from tests.worlds import node_at

RULESET = Fault("table inet steppe", "missing")
TO_B, TO_C = (RouteKey(ip_network(f"10.244.{n}.0/24")) for n in (2, 3))
STRAY = RouteKey(ip_network("10.244.99.0/24"))


class Owner:
    """Who is told, in place of the agent."""

    def __init__(self) -> None:
        self.believed = True
        self.asked = 0
        self.changed: list[Key] = []
        self.lost_pods: list[Workload] = []
        self.passes = 0

    @property
    def trusted(self) -> bool:
        self.asked += 1
        return self.believed

    def applied(self, keys: Collection[Key]) -> None:
        self.changed += keys

    async def lost(self, workload: Workload) -> None:
        self.lost_pods.append(workload)

    async def in_step(self) -> None:
        self.passes += 1


class World:
    def __init__(self, kernel: FakeKernel | None = None, *, repair: bool = True) -> None:
        self.compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
        for index in range(3):
            self.compiler.set_node(node_at(index))
        self.kernel = kernel or FakeKernel((node_at(0).underlay,), SKELETON)
        self.owner = Owner()
        self.driver = Composite((self.kernel,))
        self.metrics = Metrics()
        self.keeper = Keeper(self.compiler, self.driver, self.metrics, self.owner, repair=repair)

    @property
    def desired(self) -> dict[Key, Any]:
        return values(self.compiler.state)

    def held(self) -> dict[Key, Any]:
        return self.kernel.read(tuple(self.compiler.state))

    async def until_in_step(self) -> None:
        """The kernel holds the desired tables, and the pass that made it so has ended."""
        async with asyncio.timeout(patience(30)):
            while (
                self.held() != self.desired
                or self.kernel.check()
                or self.keeper.busy
                or self.keeper.reconciler.failed
            ):
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both of the keeper's loops, from what the kernel holds on."""
        with self.driver.watch() as heard:
            await self.keeper.read()
            self.keeper.touch(())
            async with asyncio.TaskGroup() as tasks:
                jobs = [
                    tasks.create_task(self.keeper.run()),
                    tasks.create_task(self.keeper.follow(heard.events())),
                ]
                try:
                    yield
                finally:
                    for job in jobs:
                        job.cancel()

"""What the kernel refuses is tried again at a steady pace, however much happens meanwhile."""

import asyncio
from typing import Any

import pytest

from steppe.agent.health.metrics import Metrics
from steppe.agent.node import keeper
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import Failure, KernelError
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_address, parse_prefix
from steppe.plan.diff import Change
from steppe.settings import Settings

NODE = Node(
    "node-a",
    "",
    pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")]),
    (parse_address("192.0.2.11"),),
)


class Stubborn:
    """A kernel that refuses everything, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def apply(self, changes: tuple[Change, ...]) -> tuple[Failure, ...]:
        self.asked += 1
        return tuple(Failure(change, KernelError("change", 1)) for change in changes)


class Owner:
    """Knows all there is to know, and wants to hear of nothing."""

    trusted = True

    def applied(self, _: object) -> None:
        pass

    async def lost(self, _: object) -> None:
        pass

    async def in_step(self) -> None:
        pass


async def test_events_while_the_kernel_refuses_do_not_multiply_the_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "RETRY_SECONDS", 0.2)
    kernel: Any = Stubborn()
    compiler = NodeCompiler(Settings(services=False, policies=False), "node-a")
    it = keeper.Keeper(compiler, kernel, Metrics(), Owner())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(it.run())
        it.touch(compiler.set_node(NODE))
        for _ in range(30):
            await asyncio.sleep(0.01)
            it.touch(())
        before = kernel.asked
        await asyncio.sleep(1)
        task.cancel()
    assert 3 <= kernel.asked - before <= 6

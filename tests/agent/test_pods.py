"""Pods between the CNI server and the tables: what is adopted, and links that are made anew."""

import asyncio
from typing import Any

import pytest

from steppe.agent.cni import pods
from steppe.agent.cni.pods import AttachedPods, Reattaching
from steppe.agent.node.lost import LostPods
from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import KernelError
from steppe.kube.objects import Node, Workload
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_address, parse_prefix
from steppe.settings import Settings
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key
from tests.waiting import patience, until_async

PREFIXES = pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")])
NODE = Node("node-a", "", PREFIXES, (parse_address("192.0.2.11"),))
WEB = Workload("staaaaaaaaaa", "default", "web", "node-a", (parse_address("10.244.1.5"),), "c1")
DB = Workload("stbbbbbbbbbb", "default", "db", "node-a", (parse_address("10.244.1.6"),), "c2")


class Keeper:
    def __init__(self, compiler: NodeCompiler) -> None:
        self.reconciler = Reconciler(compiler)
        self.touched: list[Key] = []

    def touch(self, keys: Any) -> None:
        self.touched += keys


class Cni:
    """Answers for each repair what it was told to, or raises it."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.repaired: list[Workload] = []

    async def repair(self, workload: Workload) -> bool:
        self.repaired.append(workload)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    def __init__(self, *answers: bool | Exception) -> None:
        self.compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
        self.compiler.set_node(NODE)
        self.keeper: Any = Keeper(self.compiler)
        gate: Any = None
        self.pods = AttachedPods(self.compiler, self.keeper, gate)
        self.lost = LostPods()
        self.cni: Any = Cni(*answers)
        self.reattaching = Reattaching(self.lost, self.cni, self.pods, self.keeper)

    async def reattach(self, *workloads: Workload) -> None:
        for workload in workloads:
            self.lost.add(workload)

        async def all_taken() -> bool:
            return not self.cni.answers

        async with asyncio.timeout(patience(10)), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.reattaching.run())
            await until_async(all_taken, 5, "every lost pod is taken")
            task.cancel()


def test_a_pod_that_was_attached_is_in_the_kernel_but_for_its_elements() -> None:
    world = World()
    world.pods.attached(WEB)
    actual = world.keeper.reconciler.actual
    assert LinkKey(WEB.link) in actual
    assert not any(isinstance(key, ElementKey) for key in actual)
    assert {type(key) for key in world.keeper.touched} == {ElementKey}
    world.pods.detached(WEB.link)
    assert actual == {}
    assert WEB.link not in world.compiler.workloads


async def test_a_lost_link_that_was_made_again_is_in_the_kernel_again() -> None:
    world = World(True)
    await world.reattach(WEB)
    assert LinkKey(WEB.link) in world.keeper.reconciler.actual


async def test_a_pod_that_is_gone_is_not_put_back() -> None:
    world = World(False)
    await world.reattach(WEB)
    assert world.keeper.reconciler.actual == {}


@pytest.mark.parametrize("error", [KernelError("add links", 24), OSError(24, "Too many files")])
async def test_a_link_that_cannot_be_made_is_compared_again_and_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(pods, "RETRY_SECONDS", 0.01)
    world = World(error, True)
    await world.reattach(WEB, DB)
    assert world.cni.repaired == [WEB, DB]
    assert LinkKey(DB.link) in world.keeper.reconciler.actual
    assert "attach-failed pod=Pod/default/web" in caplog.text

    async def compared() -> bool:
        return LinkKey(WEB.link) in world.keeper.touched

    await until_async(compared, 5, "the link is compared again")


async def test_a_pod_that_is_lost_twice_is_attached_once() -> None:
    world = World(True)
    await world.reattach(WEB, WEB)
    assert world.cni.repaired == [WEB]


async def test_a_link_that_still_cannot_be_made_is_logged_once_for_each_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pods, "RETRY_SECONDS", 0.01)
    full, many = KernelError("add links", 28), OSError(24, "Too many files")
    world = World(full, full, many, many, True, full)
    for _ in range(6):
        world.cni.answers, later = world.cni.answers[:1], world.cni.answers[1:]
        await world.reattach(WEB)
        world.cni.answers = later
    told = [each.message for each in caplog.records if "attach-failed" in each.message]
    assert ["No space" in text for text in told] == [True, False, True]

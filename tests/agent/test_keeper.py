"""The keeper over a kernel in memory: what it puts right, only looks at, and survives."""

import asyncio
from typing import Any

import pytest

from steppe.agent.node import keeper as keeper_module
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.errors import Failure, KernelError, TablesChangedError
from steppe.drivers.fake import FakeKernel
from steppe.plan.diff import Change
from steppe.state.device import Veth
from steppe.state.link import Link, LinkKey
from steppe.state.nft import ElementKey
from steppe.state.route import route_by
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import host_mac, workload_of
from tests.agent.keeper_world import RULESET, STRAY, TO_B, TO_C, World
from tests.waiting import patience
from tests.worlds import node_at, pod_on


class Breaking(FakeKernel):
    """A kernel that makes some of the changes, and then has no answer at all."""

    breaks = 0

    def apply(self, changes: Any) -> tuple[Failure, ...]:
        if self.breaks:
            self.breaks -= 1
            super().apply(changes[: len(changes) // 2])
            raise KernelError("send changes", 12)
        return super().apply(changes)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "COALESCE_SECONDS", 0.001)
    monkeypatch.setattr(keeper_module, "RETRY_SECONDS", 0.02)


async def test_an_empty_kernel_gets_all_tables_and_what_is_removed_is_back() -> None:
    world = World()
    async with world.running():
        await world.until_in_step()
        assert {*world.owner.changed} == world.desired.keys()
        for spoil in (
            lambda: world.kernel.remove(TO_B),
            lambda: world.kernel.put(TO_B, route_by("eth0")),
            lambda: world.kernel.put(STRAY, route_by("eth0")),
            world.kernel.flush,
        ):
            spoil()
            assert world.held() != world.desired
            await world.until_in_step()
        assert world.keeper.busy == 0
    count = world.metrics.registry.get_sample_value
    assert count("steppe_repairs_total", {"table": "routes"}) == 3


async def test_nothing_is_changed_before_all_is_known() -> None:
    world = World()
    world.owner.believed = False
    async with world.running():
        async with asyncio.timeout(patience(30)):
            while not world.owner.asked:
                await asyncio.sleep(0.005)
        assert world.held() == {}
        world.owner.believed = True
        world.keeper.touch(())
        await world.until_in_step()


async def test_without_repair_others_hands_are_seen_and_left_alone() -> None:
    world = World(repair=False)
    async with world.running():
        await world.until_in_step()
        world.kernel.remove(TO_B)
        world.kernel.flush()
        before = world.keeper.reconciler.begun
        async with asyncio.timeout(patience(30)):
            while world.keeper.reconciler.ended <= before:  # what was heard wakes the keeper
                await asyncio.sleep(0.005)
            world.keeper.touch(world.compiler.remove_node("node-c"))
            while TO_C in world.held():
                await asyncio.sleep(0.005)
        assert TO_B not in world.held()
        assert world.kernel.check() == (RULESET,)


async def test_a_flushed_table_comes_back_with_its_elements_before_any_pass() -> None:
    world = World()
    async with world.running():
        await world.until_in_step()
        wanted = {key for key in world.held() if isinstance(key, ElementKey)}
        passes = world.keeper.reconciler.begun
        world.kernel.flush()
        async with asyncio.timeout(patience(30)):
            while world.kernel.check():
                await asyncio.sleep(0)
        assert {key for key in world.held() if isinstance(key, ElementKey)} == wanted
        assert world.keeper.reconciler.begun == passes
        await world.until_in_step()


async def test_while_the_view_is_incomplete_a_flushed_table_gets_back_what_it_had() -> None:
    world = World()
    async with world.running():
        await world.until_in_step()
        had = world.held()
        world.owner.believed = False
        world.compiler.remove_node("node-c")
        world.kernel.flush()
        async with asyncio.timeout(patience(30)):
            while world.kernel.check():
                await asyncio.sleep(0)
        assert world.held() == had


async def test_what_a_repair_has_brought_back_is_not_told_again_by_a_later_reading() -> None:
    world = World()
    await world.keeper.read()
    await world.keeper.repair(world.held())
    world.kernel.flush()
    await world.keeper.repair(await world.keeper.look())

    def added() -> float | None:
        labels = {"table": ElementKey.table, "verb": "add"}
        return world.metrics.registry.get_sample_value("steppe_changes_total", labels)

    before = added()
    assert before
    await world.keeper.read(lost=True)
    assert added() == before


async def test_to_look_is_to_read_and_not_to_repair() -> None:
    world = World()
    await world.keeper.read()
    await world.keeper.repair(world.held())
    assert world.held() == world.desired
    world.kernel.flush()
    for _ in range(2):
        seen = await world.keeper.look()
        assert not any(isinstance(key, ElementKey) for key in seen)
        assert await world.keeper.check() == (RULESET,)
    await world.keeper.repair(seen)
    assert await world.keeper.check() == ()
    assert world.held() == world.desired


async def test_tables_that_never_rest_are_an_error_of_their_own_and_spoil_nothing() -> None:
    world = World()
    await world.keeper.read()
    before = world.keeper.reconciler.actual
    world.kernel.restless = 1
    with pytest.raises(TablesChangedError, match="it is tried again"):
        await world.keeper.read()
    assert world.keeper.reconciler.actual == before
    await world.keeper.read()


async def failed(job: asyncio.Task[None]) -> BaseException | None:
    async with asyncio.timeout(patience(30)):
        await asyncio.wait([job])
    return job.exception()


async def test_a_pass_that_breaks_off_is_taken_up_again_from_what_the_kernel_then_holds() -> None:
    kernel = Breaking((node_at(0).underlay,), SKELETON)
    world = World(kernel)
    await world.keeper.read()
    kernel.breaks = 1
    world.keeper.touch(())
    first = asyncio.ensure_future(world.keeper.run())
    assert isinstance(await failed(first), KernelError)
    assert world.keeper.busy == 0
    assert 0 < len(world.held()) < len(world.desired)
    # Nothing has been touched since; the reading before the next pass fails as well.
    kernel.restless = 1
    second = asyncio.ensure_future(world.keeper.run())
    assert isinstance(await failed(second), TablesChangedError)
    third = asyncio.ensure_future(world.keeper.run())
    await world.until_in_step()
    third.cancel()


async def test_events_that_were_not_noted_are_made_up_for_by_reading() -> None:
    world = World()
    await world.keeper.read()
    await world.keeper.repair(world.held())
    run = asyncio.ensure_future(world.keeper.run())
    with world.driver.watch() as heard:
        follow = asyncio.ensure_future(world.keeper.follow(heard.events()))
        await asyncio.sleep(0)
        world.kernel.restless = 1
        world.kernel.flush()
        world.kernel.remove(TO_C)  # heard in the same go, and not noted
        assert isinstance(await failed(follow), TablesChangedError)
        await world.until_in_step()
        follow = asyncio.ensure_future(world.keeper.follow(heard.events()))
        await asyncio.sleep(0)
        world.kernel.remove(TO_B)
        await world.until_in_step()
        follow.cancel()
    run.cancel()


async def test_what_is_refused_is_tried_again_until_it_is_taken() -> None:
    world = World()
    refused: list[Change] = []

    def refuse(change: Change) -> int:
        if change.key == TO_B and len(refused) < 3:
            refused.append(change)
            return 22
        return 0

    world.kernel.refuse = refuse
    async with world.running():
        await world.until_in_step()
        assert len(refused) == 3
        assert not world.keeper.reconciler.failed


async def test_a_pods_link_that_is_gone_is_the_owners_to_bring_back() -> None:
    world = World()
    workload = workload_of(pod_on(node_at(0), 0))
    assert workload is not None
    link = Link(Veth(), 1500, host_mac(workload.link))
    world.kernel.create_veth(workload.link, link, "eth0", "02:00:00:00:00:01", -1)
    async with world.running():
        world.keeper.touch(world.compiler.set_workload(workload))
        await world.until_in_step()
        world.kernel.remove(LinkKey(workload.link))
        async with asyncio.timeout(patience(30)):
            while not world.owner.lost_pods:
                await asyncio.sleep(0.005)
        assert world.owner.lost_pods == [workload]


async def test_settings_are_read_without_the_rest() -> None:
    world = World()
    await world.keeper.read()
    await world.keeper.repair(world.held())
    setting = next(key for key in world.desired if isinstance(key, SysctlKey))
    world.kernel.put(setting, Sysctl("7"))
    world.kernel.remove(TO_B)
    await world.keeper.read_settings()
    assert world.keeper.reconciler.actual[setting] == Sysctl("7")
    assert TO_B in world.keeper.reconciler.actual

"""What the agent answers to those who ask: documents that hold what they say."""

import asyncio
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from steppe.agent.answers import Answers
from steppe.agent.node.gauges import Gauges
from steppe.agent.node.passes import Passes
from steppe.agent.node.surroundings import Observer
from steppe.client.informer import WatchStatus
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import KernelError
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.settings import Settings
from steppe.state.document import key_state_from
from steppe.state.link import LinkKey
from steppe.state.route import route_by
from tests.agent.keeper_world import STRAY, TO_B, TO_C, World
from tests.agent.test_audit import Inspection
from tests.waiting import until_async

TWIN = Problem(Cause(ObjectRef("Service", "shop", "web"), "spec.ports"), "taken by another")


class Denials:
    def __init__(self) -> None:
        self.looked = 0
        self.fails: KernelError | None = None

    async def look(self) -> None:
        self.looked += 1
        if self.fails:
            raise self.fails

    def rows(self) -> list[dict[str, Any]]:
        return [{"pod": "shop/web", "packets": 3}]


class Asked:
    """Answers over a kernel in memory that is in step."""

    def __init__(self) -> None:
        self.world = World()
        self.watch = WatchStatus()
        self.watch.version = "17"
        self.feeds: Any = SimpleNamespace(
            trusted=True, out_of_sync="", watches={"nodes": self.watch}
        )
        self.denials = Denials()
        self.why = ""
        self.problems: tuple[Problem, ...] = ()
        denials: Any = self.denials
        inspection = Inspection()
        self.answers = Answers(
            compiler=self.world.compiler,
            keeper=self.world.keeper,
            observer=Observer(self.world.compiler, inspection, inspection.look_into),
            feeds=self.feeds,
            denials=denials,
            why_not_ready=lambda: self.why,
            problems=lambda: self.problems,
        )


@pytest.fixture
async def asked() -> Asked:
    it = Asked()
    await it.world.keeper.read()
    await it.world.keeper.repair(it.world.held())
    return it


async def test_a_node_that_is_well_says_so(asked: Asked) -> None:
    found = await asked.answers.status()
    assert found["schema"] == "steppe.agent-status/v1"
    assert (found["node"], found["ready"], found["reason"]) == ("node-a", True, "")
    assert found["api"] == {"inSync": True, "lastError": "", "seen": {"nodes": "17"}}
    assert (found["nodes"], found["pods"], found["fabric"]) == (3, 0, "direct")
    assert sum(found["entries"].values()) == len(asked.world.desired)
    assert (found["notInKernel"], found["pending"], found["problems"]) == ([], 0, [])
    msgspec.json.encode(found)


async def test_what_is_wrong_is_in_the_status(asked: Asked) -> None:
    asked.why, asked.problems = "the kernel is being read", (TWIN,)
    asked.feeds.out_of_sync = "no answer in time"
    asked.world.keeper.reconciler.observe(TO_B, None)
    asked.world.keeper.reconciler.observe(STRAY, route_by("eth0"))
    found = await asked.answers.status()
    assert (found["ready"], found["reason"]) == (False, "the kernel is being read")
    assert (found["api"]["inSync"], found["api"]["lastError"]) == (False, "no answer in time")
    assert [row["key"] for row in found["notInKernel"]] == [str(TO_B)]
    assert found["pending"] == 2
    assert found["problems"] == [
        {"object": "Service/shop/web", "field": "spec.ports", "message": "taken by another"}
    ]
    asked.feeds.trusted = False  # what nothing asks for stays, so only the missing one is pending
    assert (await asked.answers.status())["pending"] == 1


async def test_show_tells_the_rows_of_a_table(asked: Asked) -> None:
    found = await asked.answers.show("routes", "Node/node-b")
    assert found["schema"] == "steppe.show/v1"
    assert str(TO_B) in {row["key"] for row in found["rows"]}
    assert str(TO_C) not in {row["key"] for row in found["rows"]}


async def test_tables_tell_what_the_kernel_has_now_beside_what_it_shall_have(asked: Asked) -> None:
    asked.world.kernel.remove(TO_B)
    found = await asked.answers.tables(frozenset((ip_address("10.244.2.9"),)))
    assert found["schema"] == "steppe.tables/v1"
    held = {each.key: each for each in map(key_state_from, found["entries"])}
    assert held[TO_B].desired == asked.world.desired[TO_B]
    assert held[TO_B].actual is None
    assert held[TO_C].actual == held[TO_C].desired is not None


async def test_a_node_that_does_not_know_itself_says_that_it_has_not_looked() -> None:
    inspection = Inspection()
    observer = Observer(NodeCompiler(Settings(), "node-z"), inspection, inspection.look_into)
    seen = await observer.look()
    assert inspection.asked == []
    assert [part.why for part in seen.around.unread] == ["the agent does not know its own Node yet"]
    assert [found.kind for found in seen.findings] == ["unread"]


async def test_denied_counts_anew_and_an_error_of_the_kernel_is_no_empty_answer(
    asked: Asked,
) -> None:
    found = await asked.answers.denied()
    assert found["rows"] == [{"pod": "shop/web", "packets": 3}]
    assert asked.denials.looked == 1
    asked.denials.fails = KernelError("read counters", 12)
    with pytest.raises(KernelError, match="read counters"):
        await asked.answers.denied()


async def test_metrics_count_what_is_there_after_each_pass(asked: Asked) -> None:
    world, passes = asked.world, Passes()
    gauges = Gauges(
        world.metrics, world.compiler, world.keeper.reconciler, lambda: "", lambda: (TWIN,)
    )
    value = world.metrics.registry.get_sample_value

    async def measured(in_sync: int, failed: int) -> None:
        await passes.ended()

        async def seen() -> bool:
            return (value("steppe_in_sync"), value("steppe_failed_entries")) == (in_sync, failed)

        await until_async(seen, 5, f"in sync {in_sync}, failed {failed}")

    job = asyncio.ensure_future(gauges.run(passes))
    await measured(1, 0)
    assert value("steppe_problems") == 1
    assert value("steppe_entries", {"table": LinkKey.table}) is not None
    world.kernel.refuse = lambda _: 22
    world.kernel.remove(TO_B)
    await world.keeper.repair(world.held())
    await measured(0, 1)
    job.cancel()

import asyncio

from steppe.client.errors import ApiError
from steppe.client.workqueue import Workqueue
from tests.client.fake_api import until


async def test_a_key_added_while_worked_on_is_worked_on_once_more_and_never_twice_at_once() -> None:
    queue: Workqueue[str] = Workqueue("test")
    seen: list[str] = []
    gate = asyncio.Event()
    busy: set[str] = set()

    async def work(key: str) -> None:
        assert key not in busy
        busy.add(key)
        seen.append(key)
        await gate.wait()
        busy.discard(key)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(queue.run(work))
        queue.add("a")
        queue.add("a")
        await until(lambda: seen == ["a"])
        queue.add("a")
        queue.add("a")
        queue.add("b")
        await until(lambda: "b" in seen)
        gate.set()
        await until(lambda: not len(queue))
        assert sorted(seen) == ["a", "a", "b"]
        task.cancel()


async def test_failures_are_tried_again_and_stop_no_other_key() -> None:
    queue: Workqueue[str] = Workqueue("test")
    tries: list[str] = []

    async def work(key: str) -> None:
        tries.append(key)
        if key == "refused" and tries.count(key) < 3:
            raise ApiError(500, "Down", "no")
        if key == "bug" and tries.count(key) < 2:
            raise KeyError(key)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(queue.run(work, workers=1))
        for key in ("refused", "bug", "fine"):
            queue.add(key)
        await until(lambda: len(tries) == 6)
        assert sorted(tries) == ["bug"] * 2 + ["fine"] + ["refused"] * 3
        task.cancel()


async def test_of_several_moments_for_one_key_the_first_counts() -> None:
    queue: Workqueue[str] = Workqueue("test")
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(queue.run(work))
        queue.add_after("late", 0.2)
        for _ in range(100):
            queue.add_after("key", 60)
        queue.add_after("key", 0.01)
        await until(lambda: "late" in seen)
        assert seen == ["key", "late"]
        task.cancel()

"""Long work leaves the event loop to those who attach pods."""

import asyncio
from collections.abc import Callable

import pytest

from steppe.agent.feeds.behind import PAUSE_SECONDS, Behind
from steppe.agent.hurry import Hurry
from steppe.compile.slices import Pace
from steppe.state.nft import ElementKey
from steppe.state.node import Key

KEY = ElementKey("endpoint4", (1,))


class Long:
    """Ten steps of work, one a slice."""

    def __init__(self) -> None:
        self.left = 10

    @property
    def waiting(self) -> bool:
        return bool(self.left)

    def work_in_slices(self, behind: Callable[[], None], pace: Pace | None = None) -> None:
        del pace
        behind()

    def more(self) -> frozenset[Key]:
        self.left -= 1
        return frozenset() if self.left else frozenset((KEY,))


async def _pauses(hurry: Hurry) -> tuple[list[float], list[Key]]:
    """How long it was idle after each slice, and what was touched."""
    slept: list[float] = []
    touched: list[Key] = []

    async def pause(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    part = Long()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        job = tasks.create_task(Behind(part, hurry, pause).work(touched.extend))
        while len(slept) < 10:
            await asyncio.sleep(0)
        job.cancel()
    return slept, touched


async def test_long_work_goes_on_at_once_while_nobody_is_in_a_hurry() -> None:
    assert await _pauses(Hurry()) == ([0] * 10, [KEY])


async def test_long_work_leaves_time_to_somebody_who_is_served() -> None:
    hurry = Hurry()
    with hurry.served():
        assert await _pauses(hurry) == ([PAUSE_SECONDS] * 10, [KEY])


async def test_who_waits_for_the_work_itself_does_not_slow_it_down() -> None:
    hurry = Hurry()
    with hurry.served(), hurry.waiting():
        assert await _pauses(hurry) == ([0] * 10, [KEY])


def test_whoever_fails_is_served_no_more() -> None:
    hurry = Hurry()
    with pytest.raises(KeyError), hurry.served(), hurry.waiting():
        raise KeyError
    assert not hurry

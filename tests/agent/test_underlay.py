"""The way to the other nodes: what the kernel says of it, and what holds while it says nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from steppe.agent.node import underlay
from steppe.agent.node.underlay import UnderlayView
from steppe.drivers.errors import KernelError
from steppe.kube.objects import DEFAULT_UNDERLAY, Underlay
from steppe.net.address import IPAddress, parse_address, parse_interface
from tests.waiting import patience, until_async

ADDRESSES = (parse_address("192.0.2.11"), parse_address("2001:db8::11"))
ETH0 = Underlay("eth0", 1500, tuple(map(parse_interface, ("192.0.2.11/24", "2001:db8::11/64"))))
ONLY6 = Underlay("eth0", 1500, ETH0.addresses[1:])
ONLY4 = Underlay("eth0", 1500, ETH0.addresses[:1])
LARGER_ONLY6 = Underlay("eth0", 9000, ETH0.addresses[1:])
LARGER = Underlay("eth0", 9000, ETH0.addresses)
OTHER = Underlay("management", 1500, (parse_interface("198.51.100.7/24"),))
RENAMED = Underlay("uplink", 1500, ETH0.addresses)
NOWHERE = KernelError("find the underlay", detail="no link holds 192.0.2.11")
EMFILE = OSError(24, "Too many open files")


class Kernel:
    """Answers what a test says, and tells when that changes."""

    def __init__(self, found: Underlay | Exception) -> None:
        self.found = found
        self.asked: list[Sequence[IPAddress]] = []
        self._changed = asyncio.Event()

    def read(self, addresses: Sequence[IPAddress]) -> Underlay:
        self.asked.append(addresses)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def change(self, found: Underlay | Exception) -> None:
        self.found = found
        self._changed.set()

    async def events(self) -> AsyncIterator[Sequence[str]]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield ("an address",)


def view(kernel: Kernel, addresses: tuple[IPAddress, ...] = ADDRESSES) -> UnderlayView:
    return UnderlayView("node-a", kernel, lambda: addresses)


@pytest.mark.parametrize(
    ("first", "then", "value", "doubted"),
    [
        (ETH0, ETH0, ETH0, False),
        (ETH0, LARGER, LARGER, False),
        (ETH0, RENAMED, RENAMED, False),
        (ETH0, NOWHERE, ETH0, True),
        (ETH0, EMFILE, ETH0, True),
        (ETH0, OTHER, ETH0, True),
        (OTHER, NOWHERE, OTHER, True),
        (OTHER, ETH0, ETH0, False),
        (NOWHERE, NOWHERE, DEFAULT_UNDERLAY, True),
        (NOWHERE, OTHER, OTHER, False),
        (NOWHERE, ETH0, ETH0, False),
    ],
    ids=str,
)
async def test_the_last_known_good_one_stays_in_force(
    first: Any, then: Any, value: Underlay, doubted: bool
) -> None:
    kernel = Kernel(first)
    it = view(kernel)
    await it.look()
    kernel.found = then
    assert await it.look() == value
    assert it.known == (first is not NOWHERE or not doubted)
    assert bool(it.problems) == doubted
    for problem in it.problems:
        assert str(problem.cause) == "Node/node-a"
        assert "the way to the other nodes is not known: " in problem.message
        assert (f"{value.link}, MTU {value.mtu}") in problem.message
    kernel.found = ETH0
    assert await it.look() == ETH0
    assert it.problems == ()


@pytest.mark.parametrize("left", [ONLY6, ONLY4, LARGER_ONLY6], ids=str)
async def test_a_link_that_has_lost_one_family_keeps_it_in_force(left: Underlay) -> None:
    """Else all peers would look as if they were of another subnet, in the other family too."""
    kernel = Kernel(ETH0)
    it = view(kernel)
    await it.look()
    kernel.found = left
    value = await it.look()
    assert (value.link, value.mtu) == (left.link, left.mtu)
    assert value.addresses == ETH0.addresses
    assert it.known
    (problem,) = it.problems
    (lost,) = set(ETH0.addresses) - set(left.addresses)
    assert f"eth0 has lost {lost}; give it this address again" in problem.message
    kernel.found = ETH0
    assert await it.look() == ETH0
    assert it.problems == ()


async def test_a_link_that_is_down_is_told_as_such_and_keeps_its_addresses() -> None:
    """Its IPv6 addresses are gone with it: to give them again would not help."""
    kernel = Kernel(ETH0)
    it = view(kernel)
    await it.look()
    kernel.found = msgspec.structs.replace(ONLY4, up=False)
    assert await it.look() == ETH0
    (problem,) = it.problems
    assert problem.message == (
        "nothing goes to the other nodes: eth0 is down; `ip link set eth0 up`"
    )
    kernel.found = ONLY4
    await it.look()
    assert "has lost" in it.problems[0].message


async def test_an_address_that_the_node_is_not_known_by_goes_with_no_word() -> None:
    known = [ADDRESSES]
    kernel = Kernel(ETH0)
    it = UnderlayView("node-a", kernel, lambda: known[0])
    await it.look()
    kernel.found = ONLY6
    known[0] = ADDRESSES[1:]
    assert await it.look() == ONLY6
    assert it.problems == ()


async def test_an_agent_that_starts_with_half_its_addresses_takes_the_rest_from_its_node() -> None:
    known: list[tuple[IPAddress, ...]] = [()]
    kernel = Kernel(ONLY6)
    it = UnderlayView("node-a", kernel, lambda: known[0])
    assert await it.look() == ONLY6
    known[0] = ADDRESSES
    it.published(ETH0)
    assert set(it.value.addresses) == set(ETH0.addresses)
    assert set((await it.look()).addresses) == set(ETH0.addresses)
    assert len(it.problems) == 1


async def test_a_node_that_is_known_by_new_addresses_is_believed() -> None:
    kernel, known = Kernel(ETH0), [ADDRESSES]
    it = UnderlayView("node-a", kernel, lambda: known[0])
    await it.look()
    known[0] = (parse_address("198.51.100.7"),)
    kernel.found = OTHER
    assert await it.look() == OTHER
    assert it.problems == ()


async def test_without_one_of_its_own_an_agent_takes_what_was_published() -> None:
    kernel = Kernel(NOWHERE)
    it = view(kernel)
    await it.look()
    it.published(OTHER)
    assert await it.look() == OTHER
    assert not it.known
    assert "management, MTU 1500 is used" in it.problems[0].message
    kernel.found = ETH0
    await it.look()
    it.published(OTHER)
    assert (it.value, it.known) == (ETH0, True)


async def test_a_default_route_does_not_take_the_place_of_what_was_published() -> None:
    """An agent starts on a node whose uplink has lost its addresses, but has a default route."""
    kernel = Kernel(OTHER)
    it = view(kernel)
    assert await it.look() == OTHER
    it.published(ETH0)
    assert await it.look() == ETH0
    assert not it.known
    assert len(it.problems) == 1
    kernel.found = ETH0
    assert await it.look() == ETH0
    assert it.known
    assert it.problems == ()


@contextlib.asynccontextmanager
async def followed(it: UnderlayView) -> AsyncIterator[list[Underlay]]:
    told: list[Underlay] = []
    async with asyncio.timeout(patience(10)), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(it.follow(told.append))
        yield told
        task.cancel()


async def test_what_the_kernel_notifies_is_looked_at_and_reported() -> None:
    kernel = Kernel(ETH0)
    it = view(kernel)

    async def larger() -> bool:
        return told[-1:] == [LARGER]

    async def doubted() -> bool:
        return bool(it.problems)

    async def well() -> bool:
        return not it.problems

    async with followed(it) as told:
        await until_async(lambda: asyncio.sleep(0, bool(told)), 5, "the first one is told")
        kernel.change(LARGER)
        await until_async(larger, 5, "the new MTU is told")
        kernel.change(NOWHERE)
        await until_async(doubted, 5, "the address is missed")
        assert it.value == LARGER
        kernel.change(LARGER)
        await until_async(well, 5, "the address is found again")
    assert set(kernel.asked) == {ADDRESSES}


async def test_a_reading_that_failed_is_tried_again_without_being_notified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(underlay, "AGAIN_SECONDS", 0.01)
    kernel = Kernel(EMFILE)
    it = view(kernel)

    async def known() -> bool:
        return it.known

    async with followed(it):
        await until_async(lambda: asyncio.sleep(0, bool(it.problems)), 5, "it is told")
        kernel.found = ETH0
        await until_async(known, 5, "the kernel has answered")
    assert it.problems == ()


async def test_a_kernel_that_takes_its_time_delays_no_other_task() -> None:
    """It is asked on a thread: the event loop goes on, and a second look waits for the first."""
    loop, asked, answer = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    class Slow(Kernel):
        def read(self, addresses: Sequence[IPAddress]) -> Underlay:
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(answer.wait(), loop).result(patience(10))
            return super().read(addresses)

    it = view(Slow(ETH0))
    async with asyncio.timeout(patience(10)), asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(it.look())
        await asked.wait()
        assert it.value == DEFAULT_UNDERLAY
        answer.set()
        assert await looking == ETH0

"""What a Watch tells of other people's changes, and what it keeps quiet about."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from steppe.drivers.events import Event, Lost, Seen
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.watch import Watch
from steppe.plan.diff import Change
from steppe.state.link import LinkKey
from steppe.state.route import Route, RouteKey, route_by
from tests.drivers.conftest import Namespace, Pair
from tests.drivers.test_contract import MAC, ON_VXLAN, POD, VETH, VX, VXLAN, route

pytestmark = pytest.mark.kernel

ROUTE = route("10.244.2.0/24", via="192.0.2.12", link="eth0")
ROUTE6 = route("fd00:10:244:2::/64", via="2001:db8::12", link="eth0")


@pytest.fixture
def pair(node: Namespace, pod: Namespace) -> Iterator[Pair]:
    with ExitStack() as stack:
        driver = stack.enter_context(KernelDriver(node.fd))
        watch = stack.enter_context(Watch(driver.socket, node.fd))
        yield Pair(node, pod, driver, watch)


def add(pair: Pair, *rows: tuple) -> None:
    assert pair.driver.apply([Change(key, None, value) for key, value in rows]) == ()


def events(pair: Pair, *command: str) -> tuple[Event, ...]:
    """What the watch tells once a command is done; the kernel has queued it all by then."""
    pair.watch.drain()
    pair.node.run(*command)
    return pair.watch.drain()


def seen(found: tuple[Event, ...]) -> dict:
    return {event.key: event.value for event in found if isinstance(event, Seen)}


def lost(found: tuple[Event, ...]) -> list[str]:
    return [event.link for event in found if isinstance(event, Lost)]


def test_our_own_routes_come_back_as_no_event(pair: Pair) -> None:
    add(pair, ROUTE, ROUTE6)
    assert pair.watch.drain() == ()


@pytest.mark.parametrize("row", [ROUTE, ROUTE6], ids=str)
def test_a_deleted_route_is_seen(pair: Pair, row: tuple[RouteKey, Route]) -> None:
    add(pair, row)
    found = events(pair, "ip", "route", "del", *str(row[0]).split())
    assert found == (Seen(row[0], None),)


@pytest.mark.parametrize("row", [ROUTE, ROUTE6], ids=str)
def test_a_route_that_took_our_place_is_seen_and_can_be_put_right(
    pair: Pair, row: tuple[RouteKey, Route]
) -> None:
    add(pair, row)
    found = events(pair, "ip", "route", "replace", *str(row[0]).split(), "dev", "eth0")
    assert found == (Seen(row[0], route_by("eth0"), foreign=True),)
    assert pair.driver.read() == {}
    assert pair.driver.apply([Change(row[0], route_by("eth0"), row[1])]) == ()
    assert pair.driver.read() == dict((row,))


def test_others_routes_are_none_of_our_business(pair: Pair) -> None:
    found = events(pair, "ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.9")
    assert found == ()
    assert events(pair, "ip", "rule", "add", "from", "10.0.0.0/8", "lookup", "99") == ()


def test_where_others_stand_we_do_not_tread(pair: Pair) -> None:
    for prefix, via in (("10.244.2.0/24", "192.0.2.9"), ("fd00:10:244:2::/64", "2001:db8::9")):
        pair.node.run("ip", "route", "add", prefix, "via", via, "metric", "1024")
    for row in (ROUTE, ROUTE6):
        (failure,) = pair.driver.apply([Change(*row[:1], None, row[1])])
        assert "another program has an entry here" in str(failure.error)
        assert pair.driver.apply([Change(row[0], row[1], None)]) == ()
    assert len(pair.node.ip("route", "show", "10.244.2.0/24")) == 1
    assert len(pair.node.ip("-6", "route", "show", "fd00:10:244:2::/64")) == 1


def test_everything_on_a_device_is_seen_to_go(pair: Pair) -> None:
    add(pair, (LinkKey(VX), VXLAN), *ON_VXLAN)
    for command, number in (
        (("ip", "address", "del", "fd00:10:244:1::/128", "dev", VX), 1),
        (("bridge", "fdb", "del", MAC, "dev", VX, "self"), 2),
        (("ip", "neighbour", "del", "10.244.2.0", "dev", VX), 3),
        (("ip", "neighbour", "del", "fd00:10:244:2::", "dev", VX), 4),
        (("ip", "address", "del", "10.244.1.0/32", "dev", VX), 0),
    ):
        assert seen(events(pair, *command))[ON_VXLAN[number][0]] is None
    # The kernel drops plain IPv4 routes with a link's last IPv4 address, not those by an object.
    assert pair.driver.read().keys() == {LinkKey(VX), ON_VXLAN[5][0], ON_VXLAN[6][0]}


def test_a_neighbour_that_is_permanent_no_more_is_gone(pair: Pair) -> None:
    add(pair, (LinkKey(VX), VXLAN), ON_VXLAN[3])
    command = ("ip", "neighbour", "replace", "10.244.2.0", "lladdr", MAC, "dev", VX, "nud", "stale")
    assert seen(events(pair, *command)) == {ON_VXLAN[3][0]: None}


def test_a_link_that_changes_or_goes_is_seen_and_its_routes_are_in_doubt(pair: Pair) -> None:
    pair.driver.create_veth(POD, VETH, "eth0", MAC, pair.pod.fd)
    add(pair, route("10.244.1.5/32", link=POD))
    found = events(pair, "ip", "link", "set", POD, "mtu", "1300")
    assert {value.mtu for value in seen(found).values()} == {1300}
    assert lost(found) == []
    found = events(pair, "ip", "link", "set", POD, "down")
    assert seen(found)[LinkKey(POD)].up is False
    assert lost(found) == [POD]
    # IPv4's route is gone without an event of its own: that is why the link is "lost".
    assert pair.driver.read().keys() == {LinkKey(POD)}
    found = events(pair, "ip", "link", "del", POD)
    assert seen(found) == {LinkKey(POD): None}
    assert lost(found) == [POD]


def test_a_lost_ipv4_address_puts_every_route_in_doubt(pair: Pair) -> None:
    add(pair, route("10.244.2.0/24", via="192.0.2.12", link="eth0", source="192.0.2.11"))
    pair.node.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
    found = events(pair, "ip", "address", "del", "192.0.2.11/24", "dev", "eth0")
    assert "" in lost(found)
    assert pair.driver.read() == {}


def test_too_many_events_are_one_loss_and_the_watch_goes_on(pair: Pair) -> None:
    numbers = "for i in $(seq 100); do echo route add 10.9.$i.0/24 dev eth0 proto 83; done"
    with Watch(pair.driver.socket, pair.node.fd, buffer=1 << 14) as watch:
        pair.node.run("sh", "-c", f"({numbers}) | ip -batch -")
        assert Lost("events came faster than they were read") in watch.drain()
        pair.node.run("ip", "route", "del", "10.9.1.0/24")
        assert watch.drain() == (Seen(route("10.9.1.0/24", metric=0)[0], None),)


async def test_events_wake_a_sleeping_reader(pair: Pair) -> None:
    add(pair, ROUTE)
    stream = pair.watch.events()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    pair.node.run("ip", "route", "del", *str(ROUTE[0]).split())
    async with asyncio.timeout(5):
        assert await waiting == (Seen(ROUTE[0], None),)
    await stream.aclose()

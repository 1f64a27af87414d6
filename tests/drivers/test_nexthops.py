"""IPv4 routes over Steppe's own devices go by nexthop objects, which nothing above notices."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nexthops import object_id
from steppe.drivers.watch import Lost, Watch
from steppe.plan.diff import Change
from steppe.state.link import LinkKey
from steppe.state.node import Key, Value
from steppe.state.route import Hop, Route, RouteKey, in_order
from tests.drivers.conftest import Namespace
from tests.drivers.test_contract import ROUTES, VX, VXLAN, route

pytestmark = pytest.mark.kernel

DEVICE: tuple[Key, Value] = (LinkKey(VX), VXLAN)


def far(number: int, hop: int | None = None) -> tuple[RouteKey, Route]:
    via = f"10.244.{number if hop is None else hop}.0"
    return route(f"10.244.{number}.0/24", via=via, link=VX, onlink=True)


ROW = far(2)
ID = object_id(ROW[1].hops[0])


@pytest.fixture
def driver(node: Namespace) -> Iterator[KernelDriver]:
    with KernelDriver(node.fd) as driver:
        add(driver, DEVICE)
        yield driver


def add(driver: KernelDriver, *rows: tuple[Key, Value]) -> None:
    assert driver.apply([Change(key, None, value) for key, value in rows]) == ()


def delete(driver: KernelDriver, *rows: tuple[Key, Value]) -> None:
    assert driver.apply([Change(key, value, None) for key, value in rows]) == ()


def ids(node: Namespace) -> set[int]:
    return {each["id"] for each in node.ip("nexthop", "show")}


def by_object(node: Namespace, prefix: str = "10.244.2.0/24") -> int | None:
    (shown,) = node.ip("route", "show", prefix)
    return shown.get("nhid")


def test_a_route_over_our_device_has_one_and_reads_as_if_it_had_none(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    (shown,) = node.ip("route", "show", "10.244.2.0/24")
    assert (shown["nhid"], shown["gateway"], shown["dev"]) == (ID, "10.244.2.0", VX)
    assert {each["protocol"] for each in node.ip("nexthop", "show")} == {"83"}
    assert driver.read() == dict((DEVICE, ROW))


def test_what_needs_none_or_may_lose_its_carrier_has_none(
    node: Namespace, driver: KernelDriver
) -> None:
    far6 = route("fd00:10:244:2::/64", via="fd00:10:244:2::", link=VX, onlink=True)
    both = in_order(Hop(ip_address(f"10.244.{n}.0"), VX, True) for n in (3, 4))
    several = RouteKey(ip_network("10.244.3.0/24")), Route(hops=both)
    add(driver, ROUTES[0], far6, several)
    assert ids(node) == set()
    # A cable that is pulled out and put back leaves routes by the underlay as they were.
    for state in ("down", "up"):
        node.run("ip", "link", "set", "wire", state)
        assert dict((ROUTES[0],)).items() <= driver.read().items()


def test_routes_by_one_hop_share_it_and_the_last_takes_it_along(
    node: Namespace, driver: KernelDriver
) -> None:
    rows = [ROW, far(3, hop=2), far(4)]
    add(driver, *rows)
    driver.read()
    assert len(ids(node)) == 2
    delete(driver, rows[0])
    assert by_object(node, "10.244.3.0/24") == ID
    delete(driver, rows[1])
    assert ID not in ids(node)
    assert driver.read() == dict((DEVICE, rows[2]))


def test_a_route_moves_to_another_hop_and_out_of_the_tunnel_and_back(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    driver.read()
    key, value = ROW
    for new in (far(2, hop=9)[1], ROUTES[0][1], Route("unreachable"), ROW[1]):
        assert driver.apply([Change(key, value, new)]) == ()
        assert driver.read() == dict((DEVICE, (key, new)))
        value = new
    assert ids(node) == {ID}


def test_an_agent_that_restarts_goes_on_with_its_own_and_clears_what_was_left(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    node.run("ip", "nexthop", "add", "id", "5", "via", "192.0.2.5", "dev", "eth0", "proto", "83")
    node.run("ip", "nexthop", "add", "id", "6", "via", "192.0.2.6", "dev", "eth0")
    with KernelDriver(node.fd) as later:
        assert later.read() == dict((DEVICE, ROW))
        assert ids(node) == {ID, 5, 6}, "reading changes nothing"
        add(later, far(3, hop=2))
        assert ids(node) == {ID, 6}
        delete(later, far(3, hop=2))
        assert ids(node) == {ID, 6}
        delete(later, ROW)
        assert ids(node) == {6}


def test_before_all_routes_were_read_no_object_is_deleted(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    with KernelDriver(node.fd) as later:
        add(later, far(3, hop=2))
        delete(later, far(3, hop=2))
        assert by_object(node) == ID


def test_where_another_has_the_id_the_route_goes_without(
    node: Namespace, driver: KernelDriver
) -> None:
    command = ("nexthop", "add", "id", str(ID), "via", "192.0.2.9", "dev", "eth0")
    for protocol in ("boot", "83"):
        node.run("ip", *command, "proto", protocol)
        add(driver, ROW)
        assert by_object(node) is None
        assert driver.read() == dict((DEVICE, ROW))
        delete(driver, ROW)
        node.run("ip", "nexthop", "del", "id", str(ID)) if protocol == "boot" else None


def test_a_kernel_that_does_not_show_their_gateways_gets_routes_without(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    node.run("sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0")
    there = driver.read()
    assert there[ROW[0]] != ROW[1]
    assert driver.apply([Change(ROW[0], there[ROW[0]], ROW[1])]) == ()
    assert driver.read() == dict((DEVICE, ROW))
    assert by_object(node) is None


def test_an_object_that_others_delete_is_reported_and_its_route_can_be_put_back(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(driver.socket, node.fd))
        add(driver, far(3))
        delete(driver, far(3))
        assert watch.drain() == (), "our own are no news"
        node.run("ip", "nexthop", "del", "id", str(ID))
        (event,) = watch.drain()
        assert isinstance(event, Lost)
    assert driver.read() == dict((DEVICE,))
    add(driver, ROW)
    assert by_object(node) == ID


def test_a_device_that_is_made_again_has_its_routes_by_objects_again(
    node: Namespace, driver: KernelDriver
) -> None:
    add(driver, ROW)
    kind = msgspec.structs.replace(VXLAN.kind, vni=9)
    new = msgspec.structs.replace(VXLAN, kind=kind)
    assert driver.apply([Change(DEVICE[0], VXLAN, new)]) == ()
    assert driver.read() == {DEVICE[0]: new, ROW[0]: ROW[1]}
    assert by_object(node) == ID

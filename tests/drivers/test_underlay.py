"""The underlay in a real kernel: addresses and default routes that go and come back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from steppe.drivers.errors import KernelError
from steppe.drivers.underlay import Underlays
from steppe.net.address import parse_address
from steppe.state.workload import link_name
from tests.drivers.conftest import Namespace
from tests.waiting import patience

pytestmark = pytest.mark.kernel

OWN = (parse_address("192.0.2.11"), parse_address("2001:db8::11"))


@pytest.fixture
def underlays(node: Namespace) -> AsyncIterator[Underlays]:
    with Underlays(node.fd) as made:
        yield made


def changes(underlays: Underlays) -> list[str]:
    """What is told of by now: the kernel notifies before a command returns."""
    return list(underlays.drain())


def test_an_address_that_goes_and_comes_back_is_reported(
    node: Namespace, underlays: Underlays
) -> None:
    before = underlays.read(OWN)
    assert (before.link, before.mtu, [a.ip for a in before.addresses]) == ("eth0", 1500, [*OWN])
    node.run("ip", "address", "flush", "dev", "eth0")
    assert "an address" in changes(underlays)
    node.run("ip", "-6", "route", "flush", "default")
    with pytest.raises(KernelError, match="no link holds 192"):
        underlays.read(OWN)
    node.run("ip", "address", "add", "192.0.2.11/24", "dev", "eth0")
    node.run("ip", "address", "add", "2001:db8::11/64", "dev", "eth0", "nodad")
    assert "an address" in changes(underlays)
    assert underlays.read(OWN) == before


@pytest.mark.parametrize(
    ("family", "via"), [("-4", "192.0.2.1"), ("-6", "2001:db8::1")], ids=["ipv4", "ipv6"]
)
def test_a_default_route_that_goes_and_comes_back_is_reported(
    node: Namespace, underlays: Underlays, family: str, via: str
) -> None:
    node.run("ip", family, "route", "del", "default")
    assert changes(underlays) == ["a default route"]
    node.run("ip", family, "route", "add", "default", "via", via)
    assert changes(underlays) == ["a default route"]


def test_a_link_that_must_take_no_router_advertisements_is_told_apart(
    node: Namespace, underlays: Underlays
) -> None:
    for value, takes in (("0", False), ("1", True), ("2", True)):
        node.run("sysctl", "-qw", f"net.ipv6.conf.eth0.accept_ra={value}")
        assert underlays.read(OWN).takes_advertisements is takes


def test_it_is_the_link_that_holds_any_of_the_nodes_addresses(underlays: Underlays) -> None:
    assert underlays.read((parse_address("198.51.100.1"), OWN[1])).link == "eth0"


def test_a_node_that_is_not_known_yet_is_found_by_its_default_route(
    node: Namespace, underlays: Underlays
) -> None:
    assert underlays.read(()).link == "eth0"
    node.run("ip", "-4", "route", "del", "default")
    assert underlays.read(()).link == "eth0"
    node.run("ip", "-6", "route", "del", "default")
    with pytest.raises(KernelError, match="addresses are not known yet, and there is no default"):
        underlays.read(())


def test_another_mtu_is_reported(node: Namespace, underlays: Underlays) -> None:
    node.run("ip", "link", "set", "eth0", "mtu", "9000")
    assert "link eth0" in changes(underlays)
    assert underlays.read(OWN).mtu == 9000


def test_pods_links_and_other_routes_cause_no_event(node: Namespace, underlays: Underlays) -> None:
    link = link_name("uid")
    node.run("ip", "link", "add", link, "type", "veth", "peer", "name", link_name("other"))
    node.run("ip", "route", "add", "10.244.2.0/24", "via", "192.0.2.12")
    node.run("ip", "route", "add", "2001:db8:7::/48", "via", "2001:db8::12")
    assert changes(underlays) == []


async def test_events_come_as_they_happen(node: Namespace, underlays: Underlays) -> None:
    events = underlays.events()
    async with asyncio.timeout(patience(10)):
        coming = asyncio.ensure_future(anext(events))
        await asyncio.to_thread(node.run, "ip", "-4", "route", "del", "default")
        assert await coming == ("a default route",)
    await events.aclose()

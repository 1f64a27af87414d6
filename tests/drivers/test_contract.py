"""What every driver of a namespace's tables does: the fake one and the real one alike."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.driver import Fault, Watches
from steppe.drivers.events import Lost, Seen
from steppe.drivers.fake import FakeKernel
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.kube.objects import Underlay
from steppe.plan.diff import Change
from steppe.state.device import Veth, Vxlan
from steppe.state.link import (
    Address,
    AddressKey,
    Forwarding,
    ForwardingKey,
    Link,
    LinkKey,
    Neighbour,
    NeighbourKey,
)
from steppe.state.nft import Element, ElementKey
from steppe.state.node import TABLES, Key, Value
from steppe.state.route import Encap, Hop, Route, RouteKey, Rule, RuleKey, in_order, route_by
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import link_name
from tests.drivers.conftest import Namespace, prepare_node

ETH0 = Underlay("eth0", 1500, (ip_interface("192.0.2.11/24"), ip_interface("2001:db8::11/64")))
MAC = "02:00:00:00:00:01"
POD = link_name("pod-uid")
VETH = Link(Veth(), 1500, "02:00:00:00:00:aa", "default/web 10.244.1.5")
VX = "steppe-vxlan"
VXLAN = Link(Vxlan(7473, 4789, ETH0.addresses[0].ip, "eth0"), 1450, "02:00:00:00:00:bb")
EXTERNAL = Link(Vxlan(0, 4789, ETH0.addresses[0].ip, "eth0", external=True), 1450, VXLAN.mac)


class World:
    """A driver over a node, and a pod's namespace for veth pairs to end in.

    `node` is the namespace of a real one: other people's hands work there, and elsewhere in the
    fake itself.
    """

    def __init__(self, driver: Any, pod_fd: int, node: Namespace | None = None) -> None:
        self.driver = driver
        self._pod_fd = pod_fd
        self._node = node

    def watch(self) -> Any:
        return call_in(self._node.fd, self.driver.watch) if self._node else self.driver.watch()

    def delete_by_hand(self, key: RouteKey) -> None:
        if self._node:
            self._node.run("ip", "route", "del", str(key.prefix))
        else:
            self.driver.remove(key)

    def flush_by_hand(self) -> None:
        if self._node:
            self._node.run("nft", "flush", "ruleset")
        else:
            self.driver.flush()

    def add(self, *rows: tuple[Key, Value]) -> None:
        failures = self.driver.apply(tuple(Change(key, None, value) for key, value in rows))
        assert failures == ()

    def attach(self) -> None:
        self.driver.create_veth(POD, VETH, "eth0", MAC, self._pod_fd)

    def refusal(self, key: Key, value: Value) -> str:
        """The error of an addition that must fail, leaving nothing."""
        before = self.driver.read()
        (failure,) = self.driver.apply((Change(key, None, value),))
        assert failure.change == Change(key, None, value)
        assert self.driver.read() == before
        return str(failure.error)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.kernel)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as stack:
        if request.param == "fake":
            fake = FakeKernel((ETH0,), SKELETON)
            fake.ensure()
            yield World(fake, -1)
            return
        node, pod = Namespace(), Namespace()
        stack.callback(node.close)
        stack.callback(pod.close)
        prepare_node(node)
        nft = stack.enter_context(call_in(node.fd, lambda: Nft(SKELETON)))
        assert nft.ensure()
        driver = stack.enter_context(KernelDriver(node.fd, more=(nft,)))
        yield World(driver, pod.fd, node)


def route(prefix: str, **words: Any) -> tuple[RouteKey, Route]:
    key = {k: words.pop(k) for k in ("metric", "routing_table") if k in words}
    for name in ("via", "source"):
        if name in words:
            words[name] = ip_address(words[name])
    return RouteKey(ip_network(prefix), **key), route_by(**words) if "link" in words else Route(
        **words
    )


def several(prefix: str, *hops: Hop, **words: Any) -> tuple[RouteKey, Route]:
    return RouteKey(ip_network(prefix)), Route(hops=in_order(hops), **words)


def hop(via: str, link: str = "eth0", **words: Any) -> Hop:
    return Hop(ip_address(via), link, **words)


ROUTES = [
    route("10.244.2.0/24", via="192.0.2.12", link="eth0"),
    route("10.244.2.0/24", via="192.0.2.12", link="eth0", source="192.0.2.11", mtu=1400),
    route("10.244.2.0/24", via="203.0.113.9", link="eth0", onlink=True),
    route("10.244.2.0/24", link="eth0"),
    route("10.244.2.0/24", kind="unreachable"),
    route("10.244.2.0/24", kind="throw"),
    route("fd00:10:244:2::/64", via="2001:db8::12", link="eth0"),
    route("fd00:10:244:2::/64", via="2001:db8::12", link="eth0", source="2001:db8::11", mtu=1400),
    route("fd00:10:244:2::/64", via="2001:db9::9", link="eth0", onlink=True),
    route("fd00:10:244:2::/64", link="eth0"),
    route("fd00:10:244:2::/64", kind="unreachable"),
    route("fd00:10:244:2::/64", kind="throw"),
    route("10.244.2.0/24", via="2001:db8::12", link="eth0"),
    route("10.244.2.0/24", via="2001:db9::9", link="eth0", onlink=True),
    several("10.244.2.0/24", hop("192.0.2.12"), hop("192.0.2.13", weight=3)),
    several("10.244.2.0/24", hop("192.0.2.12"), hop("2001:db8::12"), mtu=1400),
    several("fd00:10:244:2::/64", hop("2001:db8::12"), hop("2001:db8::13", weight=256)),
    several("fd00:10:244:2::/64", hop("2001:db8::12"), hop("2001:db9::9", onlink=True), mtu=1400),
]
ROWS: list[tuple[Key, Value]] = [
    *ROUTES,
    several("10.244.3.0/24", hop("192.0.2.12", encap=Encap(ip_address("192.0.2.12"), 7, ttl=9))),
    several("10.244.3.0/24", Hop(None, "eth0", encap=Encap(ip_address("2001:db8::12"), 1 << 24))),
    several("fd00:10:244:3::/64", Hop(None, "eth0", encap=Encap(ip_address("192.0.2.12"), 7))),
    several(
        "fd00:10:244:3::/64",
        hop("2001:db8::12", encap=Encap(ip_address("192.0.2.12"), 7)),
        hop("2001:db8::12", encap=Encap(ip_address("192.0.2.13"), 7)),
    ),
    route("10.244.3.0/24", kind="unreachable", metric=7),
    route("fd00:10:244:3::/64", kind="unreachable", metric=7),
    route("10.244.3.0/24", link="eth0", routing_table=7473),
    route("fd00:10:244:3::/64", link="eth0", routing_table=7473),
    (RuleKey(ip_network("10.244.1.0/24"), 7473), Rule(7473)),
    (RuleKey(ip_network("fd00:10:244:1::/64"), 7473), Rule(7473)),
    (RuleKey(ip_network("0.0.0.0/0"), 7474), Rule(1)),
    (LinkKey(VX), VXLAN),
    (LinkKey(VX), EXTERNAL),
    (ElementKey("tunnel_proto", ("gre",)), Element()),
    (ElementKey("cluster4", (ip_network("10.244.2.0/24"),)), Element()),
    (ElementKey("cluster6", (ip_network("fd00:10:244:2::/64"),)), Element()),
    (ElementKey("local_pods4", (ip_network("10.244.1.7/32"),)), Element()),
]
ON_VXLAN: list[tuple[Key, Value]] = [
    (AddressKey(VX, ip_interface("10.244.1.0/32")), Address()),
    (AddressKey(VX, ip_interface("fd00:10:244:1::/128")), Address()),
    (ForwardingKey(VX, MAC), Forwarding(ip_address("192.0.2.12"))),
    (NeighbourKey(VX, ip_address("10.244.2.0")), Neighbour(MAC)),
    (NeighbourKey(VX, ip_address("fd00:10:244:2::")), Neighbour(MAC)),
    route("10.244.2.0/24", via="10.244.2.0", link=VX, onlink=True),
    route("fd00:10:244:2::/64", via="fd00:10:244:2::", link=VX, onlink=True),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].table} {row[0]} {row[1]}")
def test_what_is_added_is_read_back_added_again_and_deleted_twice(
    world: World, row: tuple[Key, Value]
) -> None:
    key, value = row
    world.add(row)
    assert world.driver.read() == {key: value}
    world.add(row)
    assert world.driver.read() == {key: value}
    for _ in range(2):
        assert world.driver.apply((Change(key, value, None),)) == ()
        assert world.driver.read() == {}


@pytest.mark.parametrize("old", ROUTES, ids=str)
def test_a_route_becomes_any_other_in_place(world: World, old: tuple[RouteKey, Route]) -> None:
    world.add(old)
    key, value = old
    for other, new in ROUTES:
        if other.prefix == key.prefix:
            assert world.driver.apply((Change(key, value, new),)) == ()
            assert world.driver.read() == {key: new}
            assert world.driver.apply((Change(key, new, value),)) == ()
            assert world.driver.read() == {key: value}


def test_a_route_moves_into_a_tunnel_and_back(world: World) -> None:
    world.add((LinkKey(VX), VXLAN))
    for direct, tunnel in ((ROUTES[0], ON_VXLAN[5]), (ROUTES[6], ON_VXLAN[6])):
        world.add(direct)
        key = direct[0]
        for old, new in ((direct[1], tunnel[1]), (tunnel[1], direct[1])):
            assert world.driver.apply((Change(key, old, new),)) == ()
            assert world.driver.read()[key] == new


def test_a_stale_idea_of_what_is_there_does_no_harm(world: World) -> None:
    for first, second in ((ROUTES[0], ROUTES[2]), (ROUTES[6], ROUTES[8])):
        world.add(first)
        key = first[0]
        # Added although another route of ours is there, deleted by a value that it has not.
        world.add(second)
        assert world.driver.read() == {key: second[1]}
        assert world.driver.apply((Change(key, first[1], None),)) == ()
        assert world.driver.read() == {}


def test_a_metric_keeps_routes_apart(world: World) -> None:
    for prefix in ("10.244.2.0/24", "fd00:10:244:2::/64"):
        plain = route(prefix, link="eth0")
        other = route(prefix, kind="unreachable", metric=9)
        world.add(plain, other)
        assert world.driver.apply((Change(*plain, None),)) == ()
        assert world.driver.apply((Change(*plain, None),)) == ()
        assert world.driver.read() == dict((other,))
        assert world.driver.apply((Change(*other, None),)) == ()


def test_a_pod_is_attached_changed_and_taken_away_with_all_it_had(world: World) -> None:
    world.attach()
    assert world.driver.read() == {LinkKey(POD): VETH}
    host4, host6 = route("10.244.1.5/32", link=POD), route("fd00:10:244:1::5/128", link=POD)
    rows = [
        (NeighbourKey(POD, ip_address("10.244.1.5")), Neighbour(MAC)),
        (NeighbourKey(POD, ip_address("fd00:10:244:1::5")), Neighbour(MAC)),
        host4,
        host6,
    ]
    world.add(*rows)
    changed = Link(Veth(), 1400, "02:00:00:00:00:ab", "default/other")
    assert world.driver.apply((Change(LinkKey(POD), VETH, changed),)) == ()
    assert world.driver.read() == {LinkKey(POD): changed, **dict(rows)}
    assert world.driver.apply((Change(LinkKey(POD), changed, None),)) == ()
    assert world.driver.read() == {}
    assert world.driver.apply(tuple(Change(k, v, None) for k, v in rows)) == ()


def test_a_link_that_goes_takes_its_hop_along_and_in_ipv4_the_route(world: World) -> None:
    world.attach()
    far4, far6 = ip_address("10.9.9.9"), ip_address("2001:db9::9")
    rows = [
        several("10.244.2.0/24", hop("192.0.2.12"), Hop(far4, POD, onlink=True)),
        several("fd00:10:244:2::/64", hop("2001:db8::12"), Hop(far6, POD, onlink=True)),
    ]
    world.add(*rows)
    assert world.driver.apply((Change(LinkKey(POD), VETH, None),)) == ()
    left = route("fd00:10:244:2::/64", via="2001:db8::12", link="eth0")
    assert world.driver.read() == dict((left,))
    world.driver.apply(tuple(Change(key, value, None) for key, value in rows))
    assert world.driver.read() == {}


def test_a_veth_pair_cannot_come_from_tables_alone(world: World) -> None:
    assert "made again by attaching" in world.refusal(LinkKey(POD), VETH)


def test_a_vxlan_device_carries_its_entries_through_being_made_again(world: World) -> None:
    setting = (SysctlKey(f"net/ipv6/conf/{VX}/accept_ra"), Sysctl("0"))
    rows = [(LinkKey(VX), VXLAN), *ON_VXLAN]
    world.add(*rows, setting)
    assert world.driver.read() == dict(rows)
    for new in (
        Link(VXLAN.kind, 1400, "02:00:00:00:00:bc", "note"),
        Link(Vxlan(8, 4790, ETH0.addresses[0].ip, "eth0"), 1450, VXLAN.mac),
        Link(Vxlan(8, 4790, ETH0.addresses[1].ip, "eth0"), 1430, VXLAN.mac),
    ):
        change = Change(LinkKey(VX), world.driver.read()[LinkKey(VX)], new)
        # IPv4 tunnel ends are of no use to a device that ends in IPv6, so they are left out.
        assert world.driver.apply((change,)) == () or new.kind.local.version == 6
        assert world.driver.read()[LinkKey(VX)] == new
        assert world.driver.read([setting[0]])[setting[0]] == setting[1]
    kept = {k: v for k, v in rows if k.table in ("addresses", "neighbours", "routes")}
    assert kept.items() <= world.driver.read().items()


def test_a_neighbour_and_a_tunnel_end_move_in_place(world: World) -> None:
    world.add((LinkKey(VX), VXLAN), *ON_VXLAN)
    for key, old, new in (
        (ON_VXLAN[2][0], ON_VXLAN[2][1], Forwarding(ip_address("192.0.2.13"))),
        (ON_VXLAN[3][0], ON_VXLAN[3][1], Neighbour("02:00:00:00:00:02")),
    ):
        assert world.driver.apply((Change(key, old, new),)) == ()
        assert world.driver.read()[key] == new


def test_an_address_goes_alone(world: World) -> None:
    rows = [(LinkKey(VX), VXLAN), *ON_VXLAN]
    world.add(*rows)
    for key, value in ON_VXLAN[:2]:
        assert world.driver.apply((Change(key, value, None),)) == ()
    assert world.driver.read() == dict(row for row in rows if row not in ON_VXLAN[:2])


def test_a_rule_moves_to_another_table(world: World) -> None:
    key = RuleKey(ip_network("10.244.1.0/24"), 7473)
    world.add((key, Rule(7473)))
    assert world.driver.apply((Change(key, Rule(7473), Rule(99)),)) == ()
    assert world.driver.read() == {key: Rule(99)}


REFUSALS = [
    (*route("10.244.2.0/24", via="192.0.2.12", link="nope"), "No such device"),
    (*route("10.244.2.0/24", via="203.0.113.9", link="eth0"), "next hop is in no prefix"),
    (*route("fd00:2::/64", via="2001:db9::9", link="eth0"), "next hop is in no prefix"),
    (*route("10.244.2.0/24", link="eth0", source="192.0.2.99"), "prefsrc"),
    (*route("fd00:2::/64", link="eth0", source="2001:db8::99"), "Invalid argument"),
    (*route("fd00:2::/64", link="eth0", metric=0), "without a metric"),
    (*route("10.244.2.0/24", link="eth0", metric=0), "without a metric"),
    (*route("10.244.2.0/24", via="2001:db9::9", link="eth0"), "next hop is in no prefix"),
    (*route("fd00:2::/64", via="192.0.2.12", link="eth0"), "does not support"),
    (*several("10.244.2.0/24", hop("192.0.2.12"), hop("203.0.113.9")), "next hop is in no prefix"),
    (*several("fd00:2::/64", hop("2001:db8::12"), hop("2001:db9::9")), "next hop is in no prefix"),
    (*several("fd00:2::/64", hop("2001:db8::12"), hop("2001:db8::12", "nope")), "No such device"),
    (NeighbourKey(POD, ip_address("10.0.0.1")), Neighbour(MAC), "No such device"),
    (AddressKey(POD, ip_interface("10.0.0.1/32")), Address(), "No such device"),
    (ForwardingKey(POD, MAC), Forwarding(ip_address("192.0.2.1")), "No such device"),
    (LinkKey("eth0"), VETH, "not one of ours"),
    (
        LinkKey(VX),
        Link(Vxlan(1, 4789, ETH0.addresses[0].ip, "eth9"), 1450, MAC),
        "underlay eth9",
    ),
    (SysctlKey(f"net/ipv4/conf/{POD}/rp_filter"), Sysctl("1"), "No such file"),
    (ElementKey("nope", (ip_network("10.0.0.0/8"),)), Element(), "no set"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case[0]} {case[1]}")
def test_refusals_name_the_change_and_the_cause(world: World, case: tuple[Key, Value, str]) -> None:
    key, value, words = case
    message = world.refusal(key, value)
    assert words in message
    assert str(key) in message


def test_one_refusal_holds_nothing_else_back(world: World) -> None:
    rows: list[tuple[Key, Value]] = [
        ROUTES[0],
        route("10.244.9.0/24", link="nope"),
        route("10.244.8.0/24", via="203.0.113.9", link="eth0"),
        ROUTES[6],
        (ElementKey("cluster4", (ip_network("10.0.0.0/24"),)), Element()),
        (ElementKey("nope", (ip_network("10.0.0.0/24"),)), Element()),
        (ElementKey("cluster4", (ip_network("10.0.1.0/24"),)), Element()),
    ]
    failures = world.driver.apply(tuple(Change(k, None, v) for k, v in rows))
    bad = [rows[1], rows[2], rows[5]]
    assert sorted(str(f.change.key) for f in failures) == sorted(str(key) for key, _ in bad)
    assert world.driver.read() == dict(row for row in rows if row not in bad)


def test_elements_that_overlap_are_all_kept(world: World) -> None:
    keys = [
        ElementKey("cluster4", (ip_network(text),))
        for text in ("10.244.2.0/24", "10.244.2.9/32", "10.244.0.0/16", "10.244.2.8/29")
    ]
    world.add(*((key, Element()) for key in keys))
    assert world.driver.read() == dict.fromkeys(keys, Element())
    for number, key in enumerate(keys):
        assert world.driver.apply((Change(key, Element(), None),)) == ()
        assert world.driver.read() == dict.fromkeys(keys[number + 1 :], Element())


def test_settings_are_written_and_read_by_name(world: World) -> None:
    world.attach()
    rows = [
        (SysctlKey("net/ipv4/ip_forward"), Sysctl("1")),
        (SysctlKey("net/ipv6/conf/all/forwarding"), Sysctl("1")),
        (SysctlKey(f"net/ipv4/conf/{POD}/rp_filter"), Sysctl("1")),
    ]
    world.add(*rows)
    found = world.driver.read([key for key, _ in rows])
    assert {key: found[key] for key, _ in rows} == dict(rows)
    assert world.driver.read() == {LinkKey(POD): VETH}


RULESET = Fault("table inet steppe", "missing")
ELEMENT = ElementKey("cluster4", (ip_network("10.244.2.0/24"),))


def test_every_table_of_a_node_has_its_driver(world: World) -> None:
    assert world.driver.tables == set(TABLES)


def test_only_the_tables_asked_for_are_read(world: World) -> None:
    world.attach()
    setting = (SysctlKey(f"net/ipv4/conf/{POD}/rp_filter"), Sysctl("1"))
    rows = [route("10.244.1.5/32", link=POD), (ELEMENT, Element()), setting]
    world.add(*rows)
    everything = world.driver.read([setting[0]])
    assert everything == {LinkKey(POD): VETH, **dict(rows)}
    for table in TABLES:
        found = world.driver.read([setting[0]], {table})
        assert found == {k: v for k, v in everything.items() if k.table == table}
    assert world.driver.read((), {"sysctls"}) == {}
    assert world.driver.read([setting[0]], ()) == {}


def test_to_look_for_faults_changes_nothing_and_to_ensure_ends_them(world: World) -> None:
    assert world.driver.check() == world.driver.ensure() == ()
    world.add((ELEMENT, Element()), ROUTES[0])
    world.flush_by_hand()
    for _ in range(2):
        assert world.driver.check() == (RULESET,)
        assert world.driver.read() == dict([ROUTES[0]])
    (failure,) = world.driver.apply((Change(ELEMENT, None, Element()),))
    assert str(ELEMENT) in str(failure.error)
    assert world.driver.ensure() == (RULESET,)
    assert world.driver.check() == world.driver.ensure() == ()
    world.add((ELEMENT, Element()))


def test_what_others_do_is_reported_by_one_watch_and_what_we_do_is_not(world: World) -> None:
    with closing(world.watch()) as watch:
        world.add(ROUTES[0], (ELEMENT, Element()))
        assert watch.drain() == ()
        world.delete_by_hand(ROUTES[0][0])
        assert watch.drain() == (Seen(ROUTES[0][0], None),)
        world.flush_by_hand()
        (event,) = watch.drain()
        assert isinstance(event, Lost)
        assert event.link == ""
        assert watch.drain() == ()


async def test_events_wake_a_waiting_task(world: World) -> None:
    world.add(ROUTES[0])
    with closing(Watches((world.watch(),))) as watches:
        stream = watches.events()
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        world.delete_by_hand(ROUTES[0][0])
        async with asyncio.timeout(10):
            assert await waiting == (Seen(ROUTES[0][0], None),)
        await stream.aclose()


def test_each_link_is_known_by_its_alias_and_all_addresses_by_what_they_are(world: World) -> None:
    world.attach()
    known = world.driver.aliases()
    assert {name: known[name] for name in ("eth0", POD)} == {"eth0": "", POD: VETH.alias}
    assert world.driver.alias(POD) == VETH.alias
    assert world.driver.alias("nope") is None
    assert {address.ip for address in ETH0.addresses} <= set(world.driver.addresses())

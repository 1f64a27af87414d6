"""Whatever one does to it, the fake kernel holds and refuses what the real one does."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.fake import FakeKernel
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.plan.diff import Change
from steppe.plan.order import ordered
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
from steppe.state.node import Key, Value
from steppe.state.route import Hop, Route, RouteKey, Rule, RuleKey, in_order, route_by
from tests.drivers.conftest import Namespace, prepare_node
from tests.drivers.test_contract import ETH0, MAC, POD, VETH, VX, VXLAN

LINKS = ("eth0", POD, VX)
PAIRS = {
    4: (("10.9.0.0/24", "10.9.0.7/32"), ("192.0.2.12", "10.9.0.7", "203.0.113.5"), "192.0.2.11"),
    6: (("fd09::/64", "fd09::7/128"), ("2001:db8::12", "fd09::7", "2001:db9::5"), "2001:db8::11"),
}


def _route_rows(version: int) -> st.SearchStrategy[tuple[Key, Value]]:
    prefixes, hops, source = PAIRS[version]
    keys = st.builds(
        RouteKey,
        st.sampled_from(prefixes).map(ip_network),
        st.sampled_from((254, 7473)),
        st.sampled_from((5, 1024)),
    )
    via = st.builds(
        lambda hop, link, onlink, own, mtu: route_by(
            link,
            ip_address(hop),
            onlink=onlink,
            source=ip_address(source) if own else None,
            mtu=mtu,
        ),
        st.sampled_from(hops),
        st.sampled_from(LINKS),
        st.booleans(),
        st.booleans(),
        st.sampled_from((0, 1400)),
    )
    direct = st.sampled_from([route_by(link) for link in LINKS])
    # Not one that other rows have routes to: the kernel looks an IPv6 next hop up in the route's
    # own table and then in all (ip6_route_check_nh), the fake in all tables at once.
    far = tuple(via for via in PAIRS[6][1] if not via.startswith("fd09"))
    several = st.builds(
        lambda weights, mtu: Route(
            hops=in_order(Hop(ip_address(via), "eth0", False, n) for via, n in weights.items()),
            mtu=mtu,
        ),
        st.dictionaries(
            st.sampled_from([*(hops if version == 4 else ()), *far]),
            st.integers(1, 256),
            min_size=2,
            max_size=3,
        ),
        st.sampled_from((0, 1400)),
    )
    none = st.sampled_from([Route("unreachable"), Route("throw")])
    return st.tuples(keys, via | direct | several | none)


ON_LINKS: list[tuple[Key, Value]] = [
    (make(link), value)
    for link in (POD, VX)
    for make, value in (
        (lambda link: AddressKey(link, ip_interface("10.9.0.1/32")), Address()),
        (lambda link: AddressKey(link, ip_interface("fd09::1/128")), Address()),
        (lambda link: NeighbourKey(link, ip_address("10.9.0.7")), Neighbour(MAC)),
        (lambda link: NeighbourKey(link, ip_address("10.9.0.7")), Neighbour(VETH.mac)),
        (lambda link: NeighbourKey(link, ip_address("fd09::7")), Neighbour(MAC)),
    )
]
OTHERS: list[tuple[Key, Value]] = [
    (LinkKey(VX), VXLAN),
    (LinkKey(VX), Link(VXLAN.kind, 1400, MAC, "note")),
    (LinkKey(VX), Link(Vxlan(9, 4789, ETH0.addresses[0].ip, "eth0"), 1400, MAC)),
    (LinkKey(POD), VETH),
    (LinkKey(POD), Link(Veth(), 1300, MAC, "default/changed")),
    (ForwardingKey(VX, MAC), Forwarding(ip_address("192.0.2.12"))),
    (ForwardingKey(VX, MAC), Forwarding(ip_address("192.0.2.13"))),
    (RuleKey(ip_network("10.9.0.0/24"), 7473), Rule(7473)),
    (RuleKey(ip_network("10.9.0.0/24"), 7473), Rule(99)),
    (RuleKey(ip_network("fd09::/64"), 7473), Rule(7473)),
    *(
        (ElementKey("cluster4", (ip_network(text),)), Element())
        for text in ("10.9.0.0/24", "10.9.0.0/16", "10.9.0.7/32")
    ),
]
rows = _route_rows(4) | _route_rows(6) | st.sampled_from(ON_LINKS) | st.sampled_from(OTHERS)
wishes = st.tuples(rows, st.booleans())
steps = st.lists(st.just("attach") | st.lists(wishes, min_size=1, max_size=8), max_size=8)


class Real:
    def __init__(self, driver: KernelDriver, pod: Namespace) -> None:
        self.driver = driver
        self.pod = pod

    def reset(self) -> None:
        everything = (Change(key, value, None) for key, value in self.driver.read().items())
        assert self.driver.apply(ordered(everything)) == ()
        assert self.driver.read() == {}


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with ExitStack() as stack:
        node, pod = Namespace(), Namespace()
        stack.callback(node.close)
        stack.callback(pod.close)
        prepare_node(node)
        nft = stack.enter_context(call_in(node.fd, lambda: Nft(SKELETON)))
        nft.ensure()
        yield Real(stack.enter_context(KernelDriver(node.fd, more=(nft,))), pod)


@pytest.mark.kernel
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_the_fake_does_as_the_kernel_does(real: Real, steps: list) -> None:
    real.reset()
    fake = FakeKernel((ETH0,), SKELETON)
    fake.ensure()
    for step in steps:
        actual = fake.read()
        if step == "attach":
            if LinkKey(POD) not in actual:
                for driver in (fake, real.driver):
                    driver.create_veth(POD, VETH, "eth0", MAC, real.pod.fd)
            continue
        wanted: dict[Key, Value | None] = {}
        for (key, value), present in step:
            wanted[key] = value if present else None
        changes = ordered(
            Change(key, actual.get(key), value)
            for key, value in wanted.items()
            if value != actual.get(key)
        )
        note("\n".join(map(str, changes)))
        refused = [{f.change for f in driver.apply(changes)} for driver in (fake, real.driver)]
        assert refused[0] == refused[1]
        assert fake.read() == real.driver.read()

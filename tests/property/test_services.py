"""The main test of Services: the tables, walked, do what the API text promises."""

from ipaddress import ip_address, ip_network
from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.kube.objects import Workload
from steppe.kube.services import EndpointSlice, Service
from steppe.net.packet import Packet
from steppe.oracle.service import World, answer
from steppe.state.node import causes
from tests.service_walk import Fate, fate, leaves, ruleset, tables
from tests.service_worlds import (
    POD_ADDRESSES,
    SERVICES,
    SOMEBODYS,
    ZONES,
    endpoints,
    services,
    slices,
)
from tests.worlds import node_at

SECOND = tuple(map(ip_address, ("192.0.2.211", "2001:db8::d3")))
LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))
HERE, PEER = node_at(0), node_at(1)
HERE = msgspec.structs.replace(HERE, addresses=(*HERE.addresses, *SECOND, *LOOPBACK))
# What an operator may say of the addresses that node ports are served on.
NODE_PORT_ADDRESSES = (
    (),
    "primary",
    (ip_network("192.0.2.192/27"),),
    (ip_network("2001:db8::/32"), ip_network("127.0.0.0/8")),
    (ip_network("203.0.113.0/24"),),
)
LOCAL = Workload("st0", "default", "web-0", HERE.name, POD_ADDRESSES[::3])
SENDERS = (
    *(prefix[7] for prefix in HERE.networks),
    *LOCAL.addresses,
    *HERE.addresses,
    *PEER.addresses,
    ip_address("203.0.113.9"),
    ip_address("203.0.113.200"),
    ip_address("2001:db8:f::9"),
)
DESTINATIONS = (
    *map(
        ip_address,
        (
            "10.96.0.10",
            "10.96.0.11",
            "10.96.0.99",
            "fd00:10:96::b",
            "fd00:10:96::c",
            "203.0.113.80",
            "198.18.0.5",
            "198.18.0.6",
            "2001:db8:f::80",
            "2001:db8:f::5",
        ),
    ),
    *map(ip_address, ("10.244.1.7", "10.244.2.5")),
    *HERE.addresses,
    *PEER.addresses,
)
PORTS = (53, 80, 30053, 30080, 3868, 22)


def fitting(service: Service) -> st.SearchStrategy[EndpointSlice]:
    """A slice that has every port of the Service."""
    return st.builds(
        EndpointSlice,
        namespace=st.just(service.namespace),
        name=st.sampled_from([f"{service.name}-8", f"{service.name}-9"]),
        service=st.just(service.name),
        ports=st.just(tuple((p.name, p.protocol, 8000 + p.port) for p in service.ports)),
        endpoints=st.lists(endpoints, min_size=1, max_size=4).map(tuple),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    offered = draw(st.lists(services(), max_size=3, unique_by=lambda service: service.name))
    # Affinity must make no difference to where a sender may be led at first.
    offered = [
        msgspec.structs.replace(service, affinity_seconds=draw(st.sampled_from([0, 0, 60, 10800])))
        for service in offered
    ]
    listed = draw(st.lists(slices(), max_size=2, unique_by=lambda slice_: slice_.name))
    for service in offered:
        listed += draw(st.lists(fitting(service), max_size=2, unique_by=lambda each: each.name))
    return World(
        node=HERE,
        services=tuple(offered),
        slices=tuple(sorted(listed, key=lambda slice_: slice_.name)),
        zone=draw(st.sampled_from(ZONES)),
        node_port_addresses=draw(st.sampled_from(NODE_PORT_ADDRESSES)),
        service_ranges=(ip_network("10.96.0.0/24"), ip_network("fd00:10:96::/120")),
        nodes=(PEER,),
        external_ips=draw(st.sampled_from(["allow", "warn", "deny"])),
    )


STRIDE = 17
PACKETS = [
    Packet(source, destination, protocol, 40000, port)
    for source, destination in product(SENDERS, DESTINATIONS)
    if source.version == destination.version
    for protocol, port in product(("TCP", "UDP", "SCTP"), PORTS)
]
samples = st.integers(0, STRIDE - 1).map(lambda first: PACKETS[first::STRIDE])


def promised(world: World, packet: Packet) -> Fate:
    """The spec's answer, and what the pod network adds to it: a pod that reaches itself, or
    something outside the cluster, is seen with the node's address.
    """
    said = answer(world, packet)
    is_pod = any(packet.source in prefix for prefix in HERE.networks)
    masqueraded = frozenset(
        (address, port)
        for address, port in said.backends
        if said.masquerade
        or (address == packet.source and address in LOCAL.addresses)
        or (is_pod and leaves(world, address, (PEER,)))
    )
    return Fate(said.action, said.backends, masqueraded)


@given(worlds(), samples)
def test_the_tables_walked_do_what_the_api_promises(world: World, sample: list[Packet]) -> None:
    state, _ = tables(world, (LOCAL,), (PEER,))
    rules = ruleset(state)
    for packet in sample:
        assert fate(world, rules, packet) == promised(world, packet), packet


@given(worlds())
def test_every_element_and_every_problem_names_an_object_that_is_there(world: World) -> None:
    state, problems = tables(world)
    known = {service.ref for service in world.services} | {each.ref for each in world.slices}
    for cause in (*causes(state), *(problem.cause for problem in problems)):
        assert cause.ref in known or cause.ref.kind in ("Node", "ServiceCIDR")


@given(worlds())
def test_no_table_key_of_services_is_ever_contested(world: World) -> None:
    """Places are given out whole, so that settling never mixes two Services' elements."""
    _, problems = tables(world)
    words = ("already served for", "not served", "CVE-2020-8554")
    assert all(any(word in problem.message for word in words) for problem in problems)


@given(worlds())
def test_every_address_that_is_somebodys_is_a_problem_and_none_leads_to_a_service(
    world: World,
) -> None:
    state, problems = tables(world, peers=(PEER,))
    told = [p.message for p in problems if "CVE" not in p.message]
    ways = {key for key in state if str(key).startswith("@service")}
    for text in SOMEBODYS[:4]:
        asked = any(
            ip_address(text) in (*s.external_ips, *s.load_balancer_ips) for s in world.services
        )
        refused = any(
            message.startswith(f"{text} ") and "not served" in message for message in told
        )
        assert asked == refused
        node_port = {key for key in ways if f" {text} " in f" {key} "}
        assert all("300" in str(key) for key in node_port), "by its node ports alone"


@given(worlds(), st.sampled_from(SERVICES))
def test_a_younger_service_changes_nothing_for_the_places_of_an_older(
    world: World, name: str
) -> None:
    younger = [service for service in world.services if service.name == name]
    others = tuple(service for service in world.services if service.name != name)
    if not younger:
        return
    late = msgspec.structs.replace(younger[0], created="2027-01-01T00:00:00Z")
    before, _ = tables(msgspec.structs.replace(world, services=others))
    after, _ = tables(msgspec.structs.replace(world, services=(*others, late)))
    for key, entry in before.items():
        assert after[key].value == entry.value


def test_the_generator_reaches_every_kind_of_fate() -> None:
    """Or else the properties above would show little."""
    seen = set()

    @settings(max_examples=300, derandomize=True)
    @given(worlds(), samples)
    def collect(world: World, sample: list[Packet]) -> None:
        for packet in sample:
            said = answer(world, packet)
            seen.add((said.action, said.masquerade, len(said.backends) > 1))

    collect()
    assert {(action, masquerade) for action, masquerade, _ in seen} == {
        ("pass", False),
        ("reject", False),
        ("drop", False),
        ("dnat", True),
        ("dnat", False),
    }
    assert ("dnat", True, True) in seen

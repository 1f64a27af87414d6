"""Clusters in which everything meets that decides about a connection, and the packets to ask about.

Few addresses, labels and ports, so that policies, Services, nodes and source ranges clash. Counted
in `tests/property/test_one_judge.py`: what the packets of these clusters come to.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import strategies as st

from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort, ServiceRange
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from tests import policy_worlds
from tests.worlds import FAMILIES, node_at

STRANGERS = tuple(map(ip_address, ("203.0.113.9", "198.51.100.200", "2001:db8:f::9", "2a00::9")))
"""Hosts outside: inside and outside the source ranges and the blocks below."""
RANGES = tuple(map(ip_network, ("203.0.113.0/25", "2001:db8:f::/64")))
PORTS = (("TCP", 80), ("TCP", 8080), ("UDP", 53), ("TCP", 30080), ("ICMP", 0))
"""The probed ports: of Services, of their endpoints, and a node port."""
BALANCERS = tuple(map(ip_address, ("198.18.0.5", "2001:db8:e::5")))
EXTERNAL = tuple(map(ip_address, ("198.18.0.80", "2001:db8:e::80")))

_blocks = st.sampled_from(
    [
        ("203.0.113.0/24", "2001:db8:f::/48"),
        ("192.0.2.11/32", "2001:db8:0::b/128"),
        ("192.0.2.0/24", "2001:db8::/64"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
    ]
)


@st.composite
def _nodes(draw: st.DrawFn) -> list[Node]:
    families = draw(st.sampled_from(FAMILIES))
    found = []
    for number in range(draw(st.sampled_from([2, 2, 3, 1]))):
        node = node_at(number, 0, families)
        zone = draw(st.sampled_from(["", "za", "zb"]))
        labels = {"rack": "r1"} if number else {}
        found.append(msgspec.structs.replace(node, zone=zone, labels=labels))
    return found


@st.composite
def _pods(draw: st.DrawFn, nodes: list[Node]) -> list[Pod]:
    found = []
    for number in range(draw(st.sampled_from([3, 4, 5, 2, 1]))):
        node = nodes[(number + draw(st.sampled_from([0, 0, 1]))) % len(nodes)]
        addresses = tuple(prefix[number + 2] for prefix in node.networks)
        how = draw(st.sampled_from(["", "", "", "", "host", "finished"]))
        found.append(
            Pod(
                namespace=draw(st.sampled_from(policy_worlds.NAMESPACES)),
                name=f"p{number}",
                node=node.name,
                addresses=node.addresses if how == "host" else addresses,
                host_network=how == "host",
                finished=how == "finished",
                labels=draw(policy_worlds.labels),
                ports=draw(st.sampled_from([(), policy_worlds.PORTS])),
            )
        )
    return found


def _some(values: tuple[IPAddress, ...]) -> st.SearchStrategy[tuple[IPAddress, ...]]:
    return st.sampled_from([values, (), ()])


@st.composite
def _services(draw: st.DrawFn) -> list[Service]:
    found = []
    for number in range(draw(st.sampled_from([2, 1, 3]))):
        ips = (ip_address(f"10.96.0.{10 + number}"), ip_address(f"fd00:10:96::{10 + number:x}"))
        # The second Service may have the addresses and the node port of the first.
        node_port = draw(st.sampled_from([30080, 30080, 0]))
        ranges = draw(st.sampled_from([(), RANGES]))
        found.append(
            Service(
                "x",
                f"s{number}",
                created=draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])),
                cluster_ips=draw(st.sampled_from([ips, ips, ips[:1], ips[1:], ()])),
                ports=(ServicePort("http", "TCP", 80, node_port), ServicePort("dns", "UDP", 53)),
                external_ips=draw(_some(EXTERNAL)),
                load_balancer_ips=draw(_some(BALANCERS)),
                source_ranges=ranges,
                restricted=bool(ranges) or draw(st.sampled_from([False, False, True])),
                internal_local=draw(st.sampled_from([False, False, True])),
                external_local=draw(st.booleans()),
                distribution=draw(st.sampled_from(["", "", "PreferSameZone", "PreferSameNode"])),
            )
        )
    return found


@st.composite
def _slices(
    draw: st.DrawFn, services: list[Service], nodes: list[Node], pods: list[Pod]
) -> list[EndpointSlice]:
    places = [(a, pod.node) for pod in pods for a in pod.addresses]
    if draw(st.sampled_from([False, False, True])):
        places += [(STRANGERS[1], ""), (STRANGERS[3], "")]
        places += [(prefix[200], node.name) for node in nodes for prefix in node.networks]
    places = list(dict.fromkeys(places))
    ports = (("http", "TCP", 8080), ("dns", "UDP", 53))
    found = []
    for service in services:
        least = draw(st.sampled_from([2, 3, 1, 0]))
        chosen = draw(
            st.lists(
                st.sampled_from(places), min_size=min(least, len(places)), max_size=5, unique=True
            )
        )
        endpoints = tuple(
            Endpoint(
                address,
                node,
                ready=draw(st.sampled_from([True, True, True, False])),
                zones=draw(st.sampled_from([(), ("za",), ("zb",)])),
                nodes=draw(st.sampled_from([(), (nodes[0].name,)])),
            )
            for address, node in chosen
        )
        found.append(EndpointSlice("x", f"{service.name}-1", service.name, ports, endpoints))
    return found


@st.composite
def _policies(draw: st.DrawFn, name: str):
    """A policy of tests/policy_worlds.py, or one for everybody that lets some blocks in."""
    if draw(st.booleans()):
        return draw(policy_worlds.network_policies(name))
    return draw(policy_worlds.blocking_policies(name, _blocks))


@st.composite
def _admins(draw: st.DrawFn, name: str):
    """A policy of an administrator; more often of the tier that few others leave anything to."""
    policy = draw(policy_worlds.cluster_policies(name))
    if draw(st.sampled_from([True, False])):
        return msgspec.structs.replace(policy, tier="Baseline")
    return policy


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Nodes of one or two families, pods, policies of both kinds, and Services of every type."""
    nodes = draw(_nodes())
    pods = draw(_pods(nodes))
    services = draw(_services())
    return cluster_of(
        nodes,
        pods,
        [Namespace(name, draw(policy_worlds.labels)) for name in policy_worlds.NAMESPACES],
        [draw(_policies(f"p{n}")) for n in range(draw(st.sampled_from([2, 3, 1, 0])))],
        cluster_policies=[draw(_admins(f"c{n}")) for n in range(draw(st.sampled_from([1, 0, 2])))],
        services=services,
        slices=draw(_slices(services, nodes, pods)),
        service_ranges=[ServiceRange("all", (ip_network("10.96.0.0/24"),), "2025-01-01")],
    )


def senders(cluster: Cluster) -> list[IPAddress]:
    """Who may send: pods that have an address, nodes, and hosts outside."""
    found = [a for pod in _running(cluster) for a in pod.addresses]
    found += [a for node in cluster.nodes.values() for a in node.addresses]
    return [*found, *STRANGERS]


def destinations(cluster: Cluster) -> list[IPAddress]:
    """All who may be dialled: also Services' addresses, and addresses that nobody has."""
    found = senders(cluster)
    for service in cluster.services.values():
        found += (*service.cluster_ips, *service.external_ips, *service.load_balancer_ips)
    found += [ip_address("10.96.0.99")]
    found += [prefix[200] for node in cluster.nodes.values() for prefix in node.networks]
    return list(dict.fromkeys(found))


def packets(cluster: Cluster) -> Iterator[tuple[Packet, str]]:
    """A packet of each kind between all these, with the node at which it enters."""
    outside = set(STRANGERS)
    nodes = sorted(cluster.nodes)
    for source in senders(cluster):
        for destination in destinations(cluster):
            if source.version == destination.version:
                for protocol, port in PORTS:
                    packet = Packet(source, destination, protocol, 40000, port)  # type: ignore[arg-type]
                    for entering in nodes if source in outside else ("",):
                        yield packet, entering


def _running(cluster: Cluster) -> Iterator[Pod]:
    return (p for p in cluster.pods.values() if not p.host_network and not p.finished)

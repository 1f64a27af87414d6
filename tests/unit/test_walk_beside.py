"""Walks over sound tables, on nodes that have something beside them."""

from ipaddress import ip_address

import msgspec
import pytest

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Pod
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import host_prefix, parse_prefix
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.state.claim import Entry
from steppe.state.link import Neighbour, NeighbourKey
from steppe.state.node import NodeState
from steppe.state.route import Hop, Route, RouteKey
from steppe.state.surroundings import (
    InPod,
    OtherNeighbour,
    OtherRoute,
    RoutingRule,
    SeenLink,
    Setting,
    Surroundings,
)
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import link_name, pod_mac
from steppe.walk.trace import Trace
from steppe.walk.walk import Walker
from tests.worlds import node_at, pod_on

MAC, WRONG = "02:00:00:00:00:0b", "02:00:00:00:00:99"
NODES = [node_at(0), node_at(1)]
NODES = [
    msgspec.structs.replace(n, underlay=msgspec.structs.replace(n.underlay, mac=MAC)) for n in NODES
]
CLIENT, SERVER, NEIGHBOUR = pod_on(NODES[0], 1), pod_on(NODES[1], 1), pod_on(NODES[0], 2)
CLUSTER = cluster_of(NODES, [CLIENT, SERVER, NEIGHBOUR])
STATES = {
    fabric: compile_cluster(Settings(fabric=fabric), CLUSTER)[0] for fabric in ("direct", "vxlan")
}
A, B = CLIENT.addresses[0], SERVER.addresses[0]
HERE, THERE = NODES[0].networks[0], NODES[1].networks[0]
LINK, FAR_LINK = link_name(CLIENT.uid), link_name(SERVER.uid)
KERNELS = tuple(
    RoutingRule(version, priority, routing_table=table)
    for version in (4, 6)
    for priority, table in ((0, 255), (32766, 254), (32767, 253))
)
ETH0 = Hop(None, "eth0")
NODE_ROUTES = tuple(
    OtherRoute(RouteKey(parse_prefix(to), metric=0), Route(hops=(ETH0,)))
    for to in ("192.0.2.0/24", "2001:db8::/64", "0.0.0.0/0", "::/0")
)
GATEWAY = tuple(
    OtherRoute(RouteKey(parse_prefix(to)), Route(hops=(ETH0,))) for to in ("0.0.0.0/0", "::/0")
)


def around(*routes: OtherRoute, **more: object) -> Surroundings:
    rules = (*KERNELS, *more.pop("rules", ()))  # type: ignore[misc]
    return Surroundings(rules=rules, routes=(*NODE_ROUTES, *routes), **more)  # type: ignore[arg-type]


def other(to: str, kind: object, table: int = 254) -> OtherRoute:
    made = Route(kind) if isinstance(kind, str) else Route(hops=(kind,))  # type: ignore[arg-type]
    return OtherRoute(RouteKey(parse_prefix(to), table, 0), made)


def setting(path: str, value: str) -> Surroundings:
    return around(settings=(Setting(SysctlKey(path), Sysctl(value)),))


def rule(**selectors: object) -> Surroundings:
    return around(rules=(RoutingRule(4, 50, **selectors),))  # type: ignore[arg-type]


def in_pod(link: str, *routes: OtherRoute) -> Surroundings:
    inside = Surroundings(rules=KERNELS, routes=(*GATEWAY, *routes))
    return around(pods=(InPod(link, inside),))


def walk(fabric: str, node: str, beside: Surroundings) -> tuple[Trace, Trace]:
    """A packet from one node's pod to another's, and its answer."""
    seen = {each.name: around() for each in NODES} | {node: beside}
    walker = Walker(CLUSTER, STATES[fabric], seen)
    trace = walker.walk(Packet(A, B, "TCP", 40000, 80))
    return trace, walker.reply(trace) if trace.end.kind == "pod" else trace


BOTH = ("direct", "vxlan")
STOPPED = {
    "a blackhole route": (BOTH, "node-a", around(other(f"{B}/32", "blackhole")), "drops it, by"),
    "a rule that prohibits": (BOTH, "node-a", rule(action="prohibit", source=HERE), "ip rule 50"),
    "a rule for this protocol and port": (
        BOTH,
        "node-b",
        rule(action="blackhole", protocol="tcp", destination_ports=(80, 80)),
        "ip rule 50: from all ipproto tcp dport 80 blackhole",
    ),
    "a rule to another table": (
        BOTH,
        "node-a",
        around(
            other("0.0.0.0/0", "unreachable", 100),
            rules=(RoutingRule(4, 50, routing_table=100, destination=THERE),),
        ),
        "route 0.0.0.0/0 table 100 metric 0 unreachable",
    ),
    "a route to nobody": (
        BOTH,
        "node-a",
        around(other(f"{B}/32", Hop(ip_address("192.0.2.99"), "eth0"))),
        "no node has the next hop 192.0.2.99",
    ),
    "the receiver's address on another link": (
        BOTH,
        "node-a",
        around(other(f"{B}/32", "local", 255)),
        f"takes {B} for its own",
    ),
    "the sender's address on the receiver's node": (
        BOTH,
        "node-b",
        around(other(f"{A}/32", "local", 255)),
        f"takes the sender's address {A} for its own",
    ),
    "the pod's link does not forward": (
        BOTH,
        "node-a",
        setting(f"net/ipv4/conf/{LINK}/forwarding", "0"),
        f"does not forward what comes in by {LINK}",
    ),
    "the tunnel does not forward": (
        ("vxlan",),
        "node-b",
        setting("net/ipv4/conf/steppe-vxlan/forwarding", "0"),
        "does not forward what comes in by steppe-vxlan",
    ),
    "the underlay does not forward": (
        ("direct",),
        "node-b",
        setting("net/ipv4/conf/eth0/forwarding", "0"),
        "does not forward what comes in by eth0",
    ),
    "only the answer's link does not forward": (
        BOTH,
        "node-b",
        setting(f"net/ipv4/conf/{FAR_LINK}/forwarding", "0"),
        f"does not forward what comes in by {FAR_LINK}",
    ),
    "a node's neighbour with another MAC": (
        BOTH,
        "node-a",
        around(neighbours=(OtherNeighbour("eth0", NODES[1].addresses[0], WRONG),)),
        f"that address is at {MAC}",
    ),
    "a link that is down": (
        BOTH,
        "node-a",
        around(links=(SeenLink("eth0", 1500, up=False), SeenLink("steppe-vxlan", 1450, up=False))),
        "is down",
    ),
    "a route inside the sending pod": (
        BOTH,
        "node-a",
        in_pod(LINK, other("10.244.2.0/24", "blackhole")),
        f"pod default/{CLIENT.name} has a route 10.244.2.0/24 metric 0 blackhole",
    ),
    "a route inside the receiving pod": (
        BOTH,
        "node-b",
        in_pod(FAR_LINK, other("10.244.1.0/24", Hop(None, "tun0"))),
        "it does not leave by eth0",
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_what_is_beside_the_tables_ends_the_packet_or_its_answer(name: str) -> None:
    fabrics, node, beside, reason = STOPPED[name]
    for fabric in fabrics:
        _, last = walk(fabric, node, beside)
        assert last.end.kind == "dropped"
        assert reason in last.end.reason, fabric


HARMLESS = {
    "nothing but the node's own": around(),
    "a longer route elsewhere": around(other("10.244.77.0/24", "blackhole")),
    "a rule for another port": rule(action="blackhole", protocol="tcp", destination_ports=(81, 90)),
    "a rule for a link bound to": rule(action="blackhole", oif="eth0"),
    "a rule for a mark": rule(action="blackhole", mark=7, mask=0xFF),
    "a rule that is skipped": around(
        rules=(
            RoutingRule(4, 40, "goto", target=60),
            RoutingRule(4, 50, "prohibit"),
            RoutingRule(4, 60, "nop"),
        )
    ),
    "a table whose default is suppressed": around(
        other("0.0.0.0/0", "blackhole", 100),
        rules=(RoutingRule(4, 40, routing_table=100, suppress=0),),
    ),
    "a throw route": around(
        other("0.0.0.0/0", "throw", 100), rules=(RoutingRule(4, 40, routing_table=100),)
    ),
    "loose path filtering": setting("net/ipv4/conf/all/rp_filter", "2"),
    "strict path filtering, and one way for both": setting("net/ipv4/conf/all/rp_filter", "1"),
    "a sound pod": in_pod(LINK),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_concern_the_packet_leaves_its_path_alone(name: str) -> None:
    for fabric in BOTH:
        for node in ("node-a", "node-b"):
            trace, answer = walk(fabric, node, HARMLESS[name])
            assert (trace.end.kind, answer.end.kind) == ("pod", "pod"), (fabric, node)


def test_strict_path_filtering_drops_what_would_be_answered_by_another_link() -> None:
    """node-b's own address is reached through the tunnel from pods, beside it from node-b."""
    beside = around(
        rules=(RoutingRule(4, 10, routing_table=254),),
        settings=(Setting(SysctlKey("net/ipv4/conf/steppe-vxlan/rp_filter"), Sysctl("1")),),
    )
    walker = Walker(CLUSTER, STATES["vxlan"], {"node-a": beside, "node-b": around()})
    end = walker.walk(Packet(NODES[1].addresses[0], A, "TCP", 40000, 80)).end
    assert end.kind == "dropped"
    assert "answers would leave by eth0: net/ipv4/conf/steppe-vxlan/rp_filter is 1" in end.reason
    assert walker.walk(Packet(B, A, "TCP", 40000, 80)).end.kind == "pod"


VIP = ip_address("10.96.0.10")
WEB = Service("default", "web", cluster_ips=(VIP,), ports=(ServicePort("http", "TCP", 80),))


@pytest.mark.parametrize("endpoint", [CLIENT, NEIGHBOUR, SERVER], ids=lambda pod: pod.name)
@pytest.mark.parametrize("fabric", BOTH)
def test_answers_of_a_service_pass_strict_filtering_as_their_endpoints(
    fabric: str, endpoint: Pod
) -> None:
    """Their source becomes the Service's in postrouting, behind the check and the look-up."""
    led = Endpoint(endpoint.addresses[0], endpoint.node)
    cluster = cluster_of(
        NODES,
        [CLIENT, SERVER, NEIGHBOUR],
        services=[WEB],
        slices=[EndpointSlice("default", "web-1", "web", (("http", "TCP", 8080),), (led,))],
    )
    states, _ = compile_cluster(Settings(fabric=fabric), cluster)
    paths = [f"net/ipv4/conf/{link_name(pod.uid)}/rp_filter" for pod in (CLIENT, NEIGHBOUR, SERVER)]
    strict = around(settings=tuple(Setting(SysctlKey(path), Sysctl("1")) for path in paths))
    walker = Walker(cluster, states, {node.name: strict for node in NODES})
    trace = walker.walk(Packet(A, VIP, "TCP", 40000, 80))
    assert (trace.end.kind, trace.end.target) == ("pod", f"default/{endpoint.name}")
    answer = walker.reply(trace)
    assert (answer.end.kind, answer.end.reason) == ("pod", "")
    assert answer.packet == Packet(VIP, A, "TCP", 80, 40000)


def changed(fabric: str, node: str, key: NeighbourKey) -> dict[str, NodeState]:
    states = dict(STATES[fabric])
    entry = states[node][key]
    states[node] = {**states[node], key: Entry(Neighbour(WRONG), entry.because)}
    return states


def test_a_neighbour_with_another_mac_than_the_pod_s_is_not_reached() -> None:
    walker = Walker(CLUSTER, changed("direct", "node-b", NeighbourKey(FAR_LINK, B)))
    end = walker.walk(Packet(A, B, "TCP", 40000, 80)).end
    assert (end.kind, end.reason) == (
        "dropped",
        f"node-b sends it to {WRONG}, which is not the MAC of {B}",
    )
    assert pod_mac(FAR_LINK) != WRONG


def test_answers_of_others_than_pods_and_nodes_go_by_the_node_s_own_routes() -> None:
    walker = Walker(CLUSTER, STATES["direct"], {"node-a": around(), "node-b": around()})
    trace = walker.walk(Packet(A, ip_address("203.0.113.9"), "TCP", 40000, 80))
    assert trace.end.kind == "outside"
    assert host_prefix(A).num_addresses == 1

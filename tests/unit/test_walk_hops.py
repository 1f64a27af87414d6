"""Routes with several hops, hops of the other family, and tunnels whose end the route names."""

from fractions import Fraction
from ipaddress import ip_address

import pytest

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import cluster_of
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.state.claim import Entry
from steppe.state.device import Vxlan
from steppe.state.link import Link, LinkKey
from steppe.state.node import NodeState
from steppe.state.route import Encap, Hop, Route, RouteKey, in_order
from steppe.walk.trace import Trace, Tunnelled
from steppe.walk.walk import Walker
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1), node_at(2)]
CLIENT, SERVER = pod_on(NODES[0], 1), pod_on(NODES[1], 1)
CLUSTER = cluster_of(NODES, [CLIENT, SERVER])
DEVICE = LinkKey("steppe-toy")


def walks(*hops: Hop, index: int = 0, device: Link | None = None) -> tuple[Trace, ...]:
    """The ways from node-a when its route to the server's prefix has these hops."""
    states, _ = compile_cluster(Settings(fabric="direct"), CLUSTER)
    changed = dict(states["node-a"])
    key = RouteKey(NODES[1].networks[index])
    changed[key] = Entry(Route(hops=in_order(hops)), changed[key].because)
    if device is not None:
        changed[DEVICE] = Entry(device, ())
    tables: dict[str, NodeState] = {**states, "node-a": changed}
    packet = Packet(CLIENT.addresses[index], SERVER.addresses[index])
    return Walker(CLUSTER, tables).walks(packet)


def by(node: int, version: int = 4, **words: object) -> Hop:
    return Hop(NODES[node].address(version), "eth0", **words)


def test_each_hop_is_a_way_with_its_part_of_the_flows() -> None:
    straight, around = sorted(walks(by(1, weight=3), by(2)), key=lambda way: -way.share)
    assert (straight.share, around.share) == (Fraction(3, 4), Fraction(1, 4))
    assert straight.end.target == around.end.target == "default/node-b-pod-1"
    assert [step.node for step in around.steps if step.stage == "route"] == [
        "node-a",
        "node-c",
        "node-b",
    ]
    (first,) = {str(step.what.route) for step in (straight.steps[0], around.steps[0])}
    assert "nexthop via 192.0.2.12 dev eth0 weight 3 nexthop via 192.0.2.13 dev eth0" in first


def test_a_hop_that_leads_nowhere_is_one_way_among_others() -> None:
    lost, found = sorted(
        walks(by(1), Hop(ip_address("192.0.2.99"), "eth0")), key=lambda w: w.end.kind
    )
    assert (lost.end.kind, lost.share) == ("dropped", Fraction(1, 2))
    assert "no node has the next hop 192.0.2.99" in lost.end.reason
    assert found.end.kind == "pod"


def test_ipv4_may_go_by_an_ipv6_hop() -> None:
    (way,) = walks(by(1, version=6))
    assert way.end.target == "default/node-b-pod-1"


@pytest.mark.parametrize("index", [0, 1], ids=["IPv4", "IPv6"])
def test_a_route_names_the_tunnels_end_where_the_device_has_none(index: int) -> None:
    kind = Vxlan(0, 4789, ip_address("192.0.2.11"), "eth0", external=True)
    device = Link(kind, 1450, "02:00:00:00:00:01")
    end = Encap(ip_address("192.0.2.12"), 7)
    (way,) = walks(Hop(None, DEVICE.name, encap=end), index=index, device=device)
    assert way.end.target == "default/node-b-pod-1"
    (tunnel,) = (step for step in way.steps if step.stage == "tunnel")
    assert tunnel.what == Tunnelled(ip_address("192.0.2.12"), id=7, link=DEVICE.name)
    (lost,) = walks(Hop(ip_address("10.9.9.9"), DEVICE.name), index=index, device=device)
    assert "names no tunnel end" in lost.end.reason

"""A pod link lets in what its pod sends from its own addresses, and nothing else."""

import msgspec
import pytest

from steppe.compile.node import compile_cluster
from steppe.dataplane.nft.sets import TUNNEL_PEER, TUNNEL_SOURCE
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.explain.tables import explainer_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import cluster_of
from steppe.net.address import host_prefix, parse_address
from steppe.net.packet import Packet
from steppe.oracle.promised_path import Oracle
from steppe.settings import Settings
from steppe.state.route import RouteKey
from steppe.walk.nft import Ruleset, State
from steppe.walk.trace import Applied, Stage
from steppe.walk.view import NodeView
from steppe.walk.walk import Walker
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1)]
SENDER, NEIGHBOUR, FAR = pod_on(NODES[0], 1), pod_on(NODES[0], 2), pod_on(NODES[1], 1)
CLUSTER = cluster_of(NODES, [SENDER, NEIGHBOUR, FAR])
CLAIMED = {
    "a pod of the same node": NEIGHBOUR.addresses,
    "a pod of another node": FAR.addresses,
    "an address that no pod has": tuple(prefix[200] for prefix in NODES[0].networks),
    "its own node": NODES[0].addresses,
    "another node": NODES[1].addresses,
    "somebody outside": (parse_address("203.0.113.9"), parse_address("2001:db8:f::9")),
    "a link-local address": (parse_address("169.254.1.1"), parse_address("fe80::1")),
}
FABRICS = ("direct", "vxlan")
FAMILIES = (0, 1)


@pytest.mark.parametrize("fabric", FABRICS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("claimed", CLAIMED)
def test_a_forged_source_is_dropped_by_the_rule_about_pods_addresses(
    claimed: str, family: int, fabric: str
) -> None:
    states, _ = compile_cluster(Settings(fabric=fabric), CLUSTER)
    walker = Walker(CLUSTER, states)
    own, source = SENDER.addresses[family], CLAIMED[claimed][family]
    ends = (NEIGHBOUR, FAR, NODES[0], NODES[1])
    for to in (end.addresses[family] for end in ends):
        if to == source:
            continue
        packet = Packet(source, to, "UDP", 40000, 9)
        (trace,) = walker.walks(packet, sender=own)
        assert trace.end.kind == "dropped"
        (step,) = trace.steps
        assert step.stage is Stage.SOURCE
        assert isinstance(step.what, Applied)
        assert "no address of this pod" in str(step.what.rule)
        assert step.because == (Cause(SENDER.ref, "status.podIPs"),)
        (promised,) = Oracle(CLUSTER).paths(packet, sender=own)
        assert promised.fate == "dropped"


def test_a_pod_link_without_routes_lets_nothing_in() -> None:
    states, _ = compile_cluster(Settings(fabric="direct"), CLUSTER)
    for own, to in zip(SENDER.addresses, FAR.addresses, strict=True):
        without = dict(states["node-a"])
        del without[RouteKey(host_prefix(own))]
        walker = Walker(CLUSTER, {**states, "node-a": without})
        assert walker.walk(Packet(own, to)).end.kind == "dropped"


def test_explain_says_by_which_rule_a_forged_source_is_dropped() -> None:
    explainer = explainer_of(CLUSTER, Settings(fabric="direct"))
    flow, _ = explainer.flow(f"default/{SENDER.name}", f"default/{FAR.name}", "9", "UDP")
    said = explainer.explain(flow, claimed=NEIGHBOUR.addresses[1])
    assert said.kind == "denied"
    assert said.conflicts == ()
    assert said.changes == ()
    assert f"{NEIGHBOUR.addresses[1]} is no address of" in said.verdict
    (path,) = said.cases[0].paths
    assert path.steps[0].what.sender == f"default/{SENDER.name}"
    assert "fib saddr . iif oif missing" in str(path.steps[1].what.rule)
    own = explainer.explain(flow, claimed=SENDER.addresses[1])
    assert own.kind == "allowed"
    assert own.conflicts == ()


def test_a_packet_to_oneself_with_anothers_source_is_dropped_too() -> None:
    states, _ = compile_cluster(Settings(fabric="direct"), CLUSTER)
    own = SENDER.addresses[0]
    packet = msgspec.structs.replace(Packet(NEIGHBOUR.addresses[0], own, "UDP"), source_port=1)
    (trace,) = Walker(CLUSTER, states).walks(packet, sender=own)
    assert trace.end.kind == "dropped"


TUNNELLED = Settings(fabric="vxlan")


def test_a_tunnel_lets_in_only_what_nodes_behind_it_send() -> None:
    """A node that does not know its peer takes nothing from its tunnel."""
    states, _ = compile_cluster(TUNNELLED, CLUSTER)
    for own, to in zip(SENDER.addresses, FAR.addresses, strict=True):
        packet = Packet(own, to, "UDP", 40000, 9)
        assert Walker(CLUSTER, states).walk(packet).end.kind == "pod"
        gone = {
            key: entry
            for key, entry in states["node-b"].items()
            if not ((found := TUNNEL_SOURCE.read(key)) and found[0] in NODES[0].networks)
        }
        trace = Walker(CLUSTER, {**states, "node-b": gone}).walk(packet)
        assert trace.end.kind == "dropped"
        assert "not of the node that has sent it" in str(trace.steps[-1].what.rule)


def test_a_node_speaks_for_its_own_pods_only() -> None:
    """What node-c may send by its tunnel, node-a may not send by its own."""
    third = node_at(2)
    cluster = cluster_of([*NODES, third], [SENDER, NEIGHBOUR, FAR])
    states, _ = compile_cluster(TUNNELLED, cluster)
    ruleset = Ruleset(SKELETON, NodeView(states["node-b"]))
    pairs = [(NODES[0], NODES[0], "accept"), (third, third, "accept")]
    pairs += [(NODES[0], third, "drop"), (third, NODES[0], "drop")]
    for family in FAMILIES:
        to = FAR.addresses[family]
        for by, claimed, wanted in pairs:
            for outer in by.addresses:
                for inner in (claimed.networks[family][9], claimed.addresses[family]):
                    priority = TUNNEL_PEER.key(outer)
                    number = states["node-b"][priority].value.data[0]
                    state = State(Packet(inner, to, "UDP"), "steppe-vxlan", priority=number)
                    ((_, ending),) = ruleset.hook("prerouting", state, raw=True)
                    assert ending == wanted, (by.name, claimed.name, outer, inner)


def test_a_node_that_does_not_know_a_peers_address_takes_no_tunnels_from_it() -> None:
    states, _ = compile_cluster(TUNNELLED, CLUSTER)
    gone = dict(states["node-b"])
    del gone[TUNNEL_PEER.key(NODES[0].addresses[0])]
    packet = Packet(SENDER.addresses[0], FAR.addresses[0], "UDP", 40000, 9)
    trace = Walker(CLUSTER, {**states, "node-b": gone}).walk(packet)
    assert trace.end.kind == "dropped"
    assert trace.end.reason == f"node-b takes no tunnels from {NODES[0].addresses[0]}"


def test_only_nodes_send_tunnels_packets_to_a_node() -> None:
    states, _ = compile_cluster(TUNNELLED, CLUSTER)
    walker = Walker(CLUSTER, states)
    outside = CLAIMED["somebody outside"]
    for family in FAMILIES:
        for to in (NODES[0].addresses[family], NODES[1].addresses[family]):
            for source in (SENDER.addresses[family], outside[family]):
                packet = Packet(source, to, "UDP", 40000, 4789)
                assert walker.walk(packet).end.kind == "dropped"
                other = msgspec.structs.replace(packet, destination_port=4790)
                assert walker.walk(other).end.kind == "node"
        peer = Packet(NODES[1].addresses[family], NODES[0].addresses[family], "UDP", 1, 4789)
        assert walker.walk(peer).end.kind == "node"


def test_pods_may_have_tunnels_of_their_own_between_them() -> None:
    states, _ = compile_cluster(TUNNELLED, CLUSTER)
    for own, to in zip(SENDER.addresses, FAR.addresses, strict=True):
        packet = Packet(own, to, "UDP", 40000, 4789)
        assert Walker(CLUSTER, states).walk(packet).end.kind == "pod"

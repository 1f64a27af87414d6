"""Small clusters with policies: enough variety that selectors, peers and tiers meet."""

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
from hypothesis import strategies as st

from steppe.kube import policy_wire
from steppe.kube.cluster_policies import ClusterNetworkPolicy, cluster_policy_from
from steppe.kube.objects import NamedPort, Node, Pod
from steppe.kube.policies import Namespace, NetworkPolicy, network_policy_from
from steppe.net.packet import Packet
from steppe.oracle.policy_match import World, world_of

NAMESPACES = ("x", "y", "z")
NODES = tuple(
    Node(
        f"n{number}",
        addresses=(ip_address(f"192.0.2.1{number}"), ip_address(f"2001:db8::1{number}")),
        labels={"rack": "r1"} if number == 1 else {},
    )
    for number in (1, 2)
)
OUTSIDE = (ip_address("203.0.113.9"), ip_address("2001:db8:ffff::9"))
PORTS = (NamedPort("web", "TCP", 80), NamedPort("dns", "UDP", 53))
PROBED = (("TCP", 80), ("TCP", 81), ("UDP", 53), ("SCTP", 80), ("ICMP", 0))
# The same networks in both families: pod a of node 1, its upper half, all pods, everything.
BLOCKS = (
    ("10.244.1.2/32", "fd00:244:1::2/128"),
    ("10.244.1.0/24", "fd00:244:1::/64"),
    ("10.244.0.0/16", "fd00:244::/32"),
    ("0.0.0.0/0", "::/0"),
)

labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), max_size=2)
expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(["app", "tier"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["app", "tier"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
selectors = st.one_of(
    st.just({}),
    labels.map(lambda found: {"matchLabels": found}),
    expressions.map(lambda found: {"matchExpressions": [found]}),
)


def _block(pair: tuple[str, str], inner: tuple[str, str] | None) -> list[dict[str, Any]]:
    """An ipBlock peer and its twin in the other family."""
    peers = []
    for index, cidr in enumerate(pair):
        block: dict[str, Any] = {"cidr": cidr}
        if inner is not None and ip_network(inner[index]).prefixlen > ip_network(cidr).prefixlen:
            block["except"] = [inner[index]]
        peers.append({"ipBlock": block})
    return peers


peers = st.one_of(
    selectors.map(lambda pods: [{"podSelector": pods}]),
    selectors.map(lambda spaces: [{"namespaceSelector": spaces}]),
    st.builds(
        lambda pods, spaces: [{"podSelector": pods, "namespaceSelector": spaces}],
        selectors,
        selectors,
    ),
    st.builds(_block, st.sampled_from(BLOCKS), st.none() | st.sampled_from(BLOCKS)),
)
ports = st.sampled_from(
    [
        {"port": 80},
        {"port": "web"},
        {"port": "dns", "protocol": "UDP"},
        {"port": 79, "endPort": 81},
        {"protocol": "SCTP"},
        {"port": 53, "protocol": "UDP"},
    ]
)


@st.composite
def _rules(draw: st.DrawFn, field: str) -> dict[str, Any]:
    found = draw(st.lists(peers, max_size=2))
    return {
        field: [peer for group in found for peer in group],
        "ports": draw(st.lists(ports, max_size=2)),
    }


@st.composite
def network_policies(draw: st.DrawFn, name: str = "p") -> NetworkPolicy:
    spec = {
        "podSelector": draw(selectors),
        "ingress": draw(st.lists(_rules("from"), max_size=2)),
        "egress": draw(st.lists(_rules("to"), max_size=2)),
        "policyTypes": draw(
            st.sampled_from([None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        ),
    }
    document = {
        "metadata": {"name": name, "namespace": draw(st.sampled_from(NAMESPACES))},
        "spec": spec,
    }
    policy, problems = network_policy_from(msgspec.convert(document, policy_wire.NetworkPolicy))
    assert problems == ()
    return policy


@st.composite
def blocking_policies(
    draw: st.DrawFn, name: str, blocks: st.SearchStrategy[tuple[str, str]]
) -> NetworkPolicy:
    """A policy that isolates some pods and lets in, or out, some of these blocks alone."""
    field, other = draw(st.sampled_from([("ingress", "from"), ("egress", "to")]))
    rules = [
        {other: _block(draw(blocks), None), "ports": draw(st.sampled_from([[], [{"port": 8080}]]))}
        for _ in range(draw(st.sampled_from([1, 2, 0])))
    ]
    document = {
        "metadata": {"name": name, "namespace": draw(st.sampled_from(NAMESPACES))},
        "spec": {
            "podSelector": draw(st.one_of(st.just({}), selectors)),
            "policyTypes": [field.capitalize()],
            field: rules,
        },
    }
    policy, problems = network_policy_from(msgspec.convert(document, policy_wire.NetworkPolicy))
    assert problems == ()
    return policy


_namespaced = st.builds(
    lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, selectors, selectors
)
_subjects = st.one_of(
    selectors.map(lambda spaces: {"namespaces": spaces}),
    _namespaced.map(lambda pods: {"pods": pods}),
)
_egress_peers = st.one_of(
    _subjects,
    selectors.map(lambda nodes: {"nodes": nodes}),
    st.sampled_from(BLOCKS).map(lambda pair: {"networks": list(pair)}),
)
_protocols = st.sampled_from(
    [
        {"tcp": {"destinationPort": {"number": 80}}},
        {"tcp": {"destinationPort": {"range": {"start": 79, "end": 81}}}},
        {"udp": {"destinationPort": {"number": 53}}},
        {"sctp": {}},
    ]
)


@st.composite
def _cluster_rules(draw: st.DrawFn, field: str) -> dict[str, Any]:
    some_peers = _subjects if field == "from" else _egress_peers
    return {
        "action": draw(st.sampled_from(["Accept", "Deny", "Pass"])),
        field: draw(st.lists(some_peers, min_size=1, max_size=2)),
        "protocols": draw(st.none() | st.lists(_protocols, min_size=1, max_size=2)),
    }


@st.composite
def cluster_policies(draw: st.DrawFn, name: str = "c") -> ClusterNetworkPolicy:
    spec = {
        "tier": draw(st.sampled_from(["Admin", "Baseline"])),
        "priority": draw(st.integers(0, 2)),
        "subject": draw(_subjects),
        "ingress": draw(st.lists(_cluster_rules("from"), max_size=2)),
        "egress": draw(st.lists(_cluster_rules("to"), max_size=2)),
    }
    document = {"metadata": {"name": name}, "spec": spec}
    seen = msgspec.convert(document, policy_wire.ClusterNetworkPolicy)
    policy, problems = cluster_policy_from(seen)
    assert problems == ()
    return policy


@st.composite
def worlds(draw: st.DrawFn) -> World:
    pods = []
    for number in range(draw(st.integers(2, 5))):
        node = 1 + number % 2
        pods.append(
            Pod(
                namespace=draw(st.sampled_from(NAMESPACES)),
                name=f"p{number}",
                node=f"n{node}",
                addresses=(
                    ip_address(f"10.244.{node}.{number + 2}"),
                    ip_address(f"fd00:244:{node}::{number + 2}"),
                ),
                labels=draw(labels),
                ports=draw(st.sampled_from([(), PORTS, PORTS[:1]])),
            )
        )
    count, tiers = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return world_of(
        pods=pods,
        namespaces=[Namespace(name, draw(labels)) for name in NAMESPACES],
        nodes=NODES,
        network_policies=[draw(network_policies(f"p{number}")) for number in range(count)],
        cluster_policies=[draw(cluster_policies(f"c{number}")) for number in range(tiers)],
    )


def packets_of(world: World) -> list[Packet]:
    """A packet of each kind between all pods, nodes and a host outside, family by family."""
    nodes = [address for node in world.nodes.values() for address in node.addresses]
    ends = [*world.pods, *nodes, *OUTSIDE]
    return [
        Packet(source, destination, protocol, 40000, port)  # type: ignore[arg-type]
        for source in ends
        for destination in ends
        if source.version == destination.version
        for protocol, port in PROBED
    ]

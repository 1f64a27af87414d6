"""Clusters and packets for property tests, as hypothesis strategies.

`sound_clusters` keeps every promise the network model asks of an operator (unique prefixes and
addresses, node addresses for every family in use). `any_clusters` breaks them at will.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import strategies as st

from steppe.fabric.registry import FABRICS
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.settings import Settings

NAMES = ("node-a", "node-b", "node-c", "node-d", "node-e")
FAMILIES = ((4,), (6,), (4, 6), (6, 4))
OUTSIDE = (ip_address("203.0.113.9"), ip_address("2001:db8:f::9"))

settings = st.builds(Settings, fabric=st.sampled_from(list(FABRICS)))


def node_at(index: int, rack: int = 0, families: tuple[int, ...] = (4, 6)) -> Node:
    """The index-th node, with a /24 and a /64 of its own, on its rack's subnet."""
    own = {
        4: ip_interface(f"192.0.{2 + rack}.{11 + index}/24"),
        6: ip_interface(f"2001:db8:{rack}::{11 + index:x}/64"),
    }
    prefixes = {
        4: ip_network(f"10.244.{index + 1}.0/24"),
        6: ip_network(f"fd00:10:244:{index + 1:x}::/64"),
    }
    name = NAMES[index] if index < len(NAMES) else f"node-{index}"
    return Node(
        name=name,
        created=f"2026-01-01T00:00:{index % 60:02}Z",
        prefixes=pod_cidrs(name, (prefixes[family] for family in families)),
        addresses=tuple(own[family].ip for family in families),
        underlay=Underlay("eth0", 1500, tuple(own[family] for family in families)),
    )


def pod_on(node: Node, index: int, name: str = "") -> Pod:
    """A pod of this node, with one address from each of its prefixes."""
    name = name or f"{node.name}-pod-{index}"
    return Pod(
        namespace="default",
        name=name,
        uid=f"uid-{name}",
        node=node.name,
        addresses=tuple(prefix[index + 2] for prefix in node.networks),
    )


@st.composite
def sound_worlds(draw: st.DrawFn) -> tuple[Settings, Cluster]:
    """Settings and a cluster that they suit: `direct` needs all nodes on one subnet, and so does
    `bgp` where no router is there that BIRD learns from.
    """
    chosen = draw(settings)
    return chosen, draw(sound_clusters(racks=1 if chosen.fabric in ("direct", "bgp") else 2))


@st.composite
def sound_clusters(draw: st.DrawFn, racks: int = 2) -> Cluster:
    families = draw(st.sampled_from(FAMILIES))
    count = draw(st.integers(1, len(NAMES)))
    nodes = [node_at(i, draw(st.integers(0, racks - 1)), families) for i in range(count)]
    pods = []
    for node in nodes:
        for index in range(draw(st.integers(0, 3))):
            pod = pod_on(node, index)
            pods.append(_varied(pod, node, draw(st.sampled_from(["", "", "host", "finished"]))))
    return cluster_of(nodes, pods)


def _varied(pod: Pod, node: Node, how: str) -> Pod:
    if how == "host":
        return Pod(pod.namespace, pod.name, pod.uid, pod.node, node.addresses, host_network=True)
    if how == "finished":
        return Pod(pod.namespace, pod.name, pod.uid, pod.node, pod.addresses, finished=True)
    return pod


def addresses_of(cluster: Cluster) -> list[IPAddress]:
    """Every address in play: pods' and nodes', an unused one of each prefix, and outside's."""
    found: dict[IPAddress, None] = dict.fromkeys(OUTSIDE)
    for node in cluster.nodes.values():
        found.update(dict.fromkeys(node.addresses))
        found.update(dict.fromkeys(prefix[200] for prefix in node.networks))
    for pod in cluster.pods.values():
        found.update(dict.fromkeys(pod.addresses))
    return list(found)


def packets_of(cluster: Cluster) -> Iterable[Packet]:
    """Every pair of addresses of one family, as a packet from a sender that really exists."""
    known = addresses_of(cluster)
    live = {a for p in cluster.pods.values() if not p.finished for a in p.addresses}
    senders = {a for node in cluster.nodes.values() for a in node.addresses} | live | set(OUTSIDE)
    for source in known:
        for destination in known:
            same = source.version == destination.version
            if same and source != destination and source in senders:
                yield Packet(source, destination)


@st.composite
def any_nodes(draw: st.DrawFn) -> Node:
    """A node that may clash with others, lack a family, or have nothing at all."""
    prefixes = draw(
        st.lists(st.sampled_from(["10.244.1.0/24", "10.244.2.0/24", "10.244.0.0/16"]), max_size=1)
    ) + draw(st.lists(st.sampled_from(["fd00:1::/64", "fd00:2::/64"]), max_size=1))
    addresses = draw(
        st.lists(st.sampled_from(["192.0.2.11", "192.0.2.12", "192.0.3.11"]), max_size=1)
    ) + draw(st.lists(st.sampled_from(["2001:db8::11", "2001:db8::12"]), max_size=1))
    lengths = {4: 24, 6: 64}
    own = [ip_address(text) for text in addresses]
    name = draw(st.sampled_from(NAMES))
    return Node(
        name=name,
        created=draw(st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])),
        prefixes=pod_cidrs(name, map(ip_network, prefixes)),
        addresses=tuple(own),
        underlay=Underlay(
            "eth0", 1500, tuple(ip_interface(f"{a}/{lengths[a.version]}") for a in own)
        ),
    )


# What a Node may claim that is not its own: pods' addresses, all of them, Services', anything.
_FALSE_PREFIXES = (
    *("10.244.1.2/32", "10.244.1.0/25", "10.244.0.0/16", "10.0.0.0/8", "0.0.0.0/0"),
    *("10.96.0.0/16", "127.0.0.0/8", "224.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24"),
    *("192.0.2.11/32", "10.250.0.0/24"),
)
_FALSE_PREFIXES_6 = (
    *("fd00:10:244:1::2/128", "fd00:10:244::/48", "::/0", "fe80::/64", "ff00::/16"),
    *("2001:db8::/64", "fd00:10:96::/112", "fd00:10:250::/64"),
)
_FALSE_ADDRESSES = ("192.0.2.11", "192.0.2.12", "10.244.1.2", "10.96.0.10", "2001:db8::b")


@st.composite
def claimants(draw: st.DrawFn) -> Node:
    """A younger node without pods that claims what may be others'."""
    name = f"late-{draw(st.integers(0, 2))}"
    prefixes = draw(st.lists(st.sampled_from(_FALSE_PREFIXES), max_size=1))
    prefixes += draw(st.lists(st.sampled_from(_FALSE_PREFIXES_6), max_size=1))
    addresses = draw(st.lists(st.sampled_from(_FALSE_ADDRESSES), max_size=2, unique=True))
    own = (ip_address("192.0.2.99"), ip_address("2001:db8::99"))
    return Node(
        name=name,
        created=draw(st.sampled_from(["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"])),
        prefixes=pod_cidrs(name, map(ip_network, prefixes)),
        addresses=(*map(ip_address, addresses), *own[: draw(st.integers(0, 2))]),
    )

"""Groups: ends that no policy tells apart, with who belongs to them.

    pods       by their policy class, so one group may have pods of many workloads and namespaces
    nodes      by their policy class; host-network pods are their node
    outside    prefixes that policies name, without those inside them, and addresses that Services
               lead to although they are no pod's; "internet" is all the rest

Pods that are finished or have no address yet are in no group: nothing can reach them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix, parse_prefix, sort_key
from steppe.policy.identities import Identity
from steppe.reach.policy_classes import DIRECTIONS, OPEN, PolicyClass, PolicyClasses, Side

Kind = Literal["pods", "nodes", "outside"]
Member = Pod | Node | IPNetwork
INTERNET = parse_prefix("0.0.0.0/0")
"""Stands for ::/0 as well: outside is one end, of two families."""


class Group(msgspec.Struct, frozen=True):
    """Ends of one policy class, in order of their names."""

    kind: Kind
    members: tuple[Member, ...]

    @property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(member for member in self.members if isinstance(member, Pod))

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(member for member in self.members if isinstance(member, Node))

    @property
    def prefixes(self) -> tuple[IPNetwork, ...]:
        return tuple(m for m in self.members if not isinstance(m, Pod | Node))


def own_network(pods: Iterable[Pod]) -> Iterator[Pod]:
    """The pods that can be reached as themselves."""
    return (p for p in pods if p.addresses and not p.host_network and not p.finished)


def classed_members(
    cluster: Cluster, classes: PolicyClasses, prefixes: Iterable[IPNetwork] = ()
) -> Iterator[tuple[Kind, Member, PolicyClass]]:
    """Everybody there is, with their class; these prefixes apart though no policy does it."""
    for pod in sorted(own_network(cluster.pods.values()), key=lambda pod: pod.ref):
        yield "pods", pod, classes.of_pod(pod)
    for node in sorted(cluster.nodes.values(), key=lambda node: node.name):
        if node.addresses:
            yield "nodes", node, classes.of_node(node)
    for prefix, policy_class in _outside(cluster, classes, prefixes):
        yield "outside", prefix, policy_class


def groups_of(
    members: Iterable[tuple[Kind, Member, PolicyClass]], mark: Callable[[Member], object]
) -> list[tuple[Group, PolicyClass]]:
    """Alike ones together, those marked alike; the order depends on names alone."""
    found: dict[tuple[Kind, PolicyClass, object], list[Member]] = {}
    for kind, member, policy_class in members:
        found.setdefault((kind, policy_class, mark(member)), []).append(member)
    return [(Group(kind, tuple(m)), policy_class) for (kind, policy_class, _), m in found.items()]


def _outside(
    cluster: Cluster, classes: PolicyClasses, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, PolicyClass]]:
    """Each prefix that some policy names, as the addresses in it that no longer one holds.

    The internet, 0.0.0.0/0 and ::/0, is one end of both families.
    """
    strangers = _strangers(cluster)
    inside = _inside(cluster)
    everywhere: dict[int, Side] = {}
    for prefix, sender, receiver in _atoms(classes, strangers.union(more)):
        side = Side(
            classes.identities["ingress"].number(sender),
            classes.identities["egress"].number(receiver),
        )
        if prefix.prefixlen == 0:
            everywhere[prefix.version] = side
        elif prefix in strangers or not inside(prefix):
            four = prefix.version == 4
            yield prefix, PolicyClass(OPEN, OPEN, side if four else None, None if four else side)
    if everywhere:
        yield INTERNET, PolicyClass(OPEN, OPEN, everywhere.get(4), everywhere.get(6))


def _atoms(
    classes: PolicyClasses, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, Identity, Identity]]:
    """Prefixes of both directions laid over each other, but those that others use up."""
    named = [classes.prefixes[direction] for direction in DIRECTIONS]
    around: list[tuple[IPNetwork, tuple[Identity, ...]]] = []
    found: dict[IPNetwork, tuple[Identity, ...]] = {}
    used: dict[IPNetwork, int] = {}
    for prefix in sorted({*more, *(p for prefixes in named for p in prefixes)}, key=sort_key):
        while around and not holds(around[-1][0], prefix):
            around.pop()
        outer = around[-1][1] if around else (Identity(), Identity())
        if around:
            used[around[-1][0]] = used.get(around[-1][0], 0) + prefix.num_addresses
        found[prefix] = tuple(p.get(prefix, o) for p, o in zip(named, outer, strict=True))
        around.append((prefix, found[prefix]))
    for prefix, identities in found.items():
        if used.get(prefix, 0) < prefix.num_addresses:
            by = dict(zip(DIRECTIONS, identities, strict=True))
            yield prefix, by["ingress"], by["egress"]


def of_kind(groups: Sequence[Group], kind: Kind) -> int:
    """A mask of the groups of this kind."""
    return sum(1 << number for number, group in enumerate(groups) if group.kind == kind)


def named_prefixes(cluster: Cluster, classes: PolicyClasses) -> frozenset[IPNetwork]:
    """All prefixes that keep the outside of this cluster apart."""
    named = (prefix for found in classes.prefixes.values() for prefix in found)
    return _strangers(cluster).union(named)


def _taken(cluster: Cluster) -> frozenset[IPAddress]:
    """The addresses that pods and nodes have."""
    pods = (a for pod in own_network(cluster.pods.values()) for a in pod.addresses)
    nodes = (
        a for node in cluster.nodes.values() for a in (*node.addresses, *node.external_addresses)
    )
    return frozenset((*pods, *nodes))


def _strangers(cluster: Cluster) -> frozenset[IPNetwork]:
    """Endpoints of Services that are neither pods nor nodes."""
    endpoints = {e.address for slice_ in cluster.slices.values() for e in slice_.endpoints}
    return frozenset(map(host_prefix, endpoints - _taken(cluster))) if endpoints else frozenset()


def _inside(cluster: Cluster) -> Callable[[IPNetwork], bool]:
    """Whether a prefix is the cluster's own altogether: of its pods or nodes."""
    taken = _taken(cluster)
    cidrs = frozenset(cidr for node in cluster.nodes.values() for cidr in node.networks)
    lengths = {(cidr.version, cidr.prefixlen) for cidr in cidrs}

    def inside(prefix: IPNetwork) -> bool:
        alone = prefix.prefixlen == prefix.max_prefixlen
        return (alone and prefix.network_address in taken) or any(
            prefix.supernet(new_prefix=length) in cidrs
            for version, length in lengths
            if version == prefix.version and length <= prefix.prefixlen
        )

    return inside

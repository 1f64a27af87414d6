"""Groups: ends that no policy distinguishes, with their members.

    pods       by their policy class, so one group may have pods of many workloads and namespaces
    nodes      by their policy class; host-network pods count as their node
    outside    prefixes that policies name, without the named prefixes inside them, and endpoints of
               Services that are no pods; "internet" is all the rest

Finished pods and pods without an address are in no group: nothing can reach them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from steppe.judge.classes import DIRECTIONS, OPEN, PolicyClass, PolicyClasses, Side
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix, parse_prefix, sort_key
from steppe.policy.identities import Identity

Kind = Literal["pods", "nodes", "outside"]
Member = Pod | Node | IPNetwork
INTERNET = parse_prefix("0.0.0.0/0")
"""Represents ::/0 too: the internet is one end with both families."""


class Group(msgspec.Struct, frozen=True):
    """Ends of one policy class, sorted by name."""

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
    """The pods with addresses of their own (not host-network, not finished)."""
    return (p for p in pods if p.addresses and not p.host_network and not p.finished)


def classed_members(
    cluster: Cluster, classes: PolicyClasses, prefixes: Iterable[IPNetwork] = ()
) -> Iterator[tuple[Kind, Member, PolicyClass]]:
    """All ends with their classes; the prefixes in `apart` become members of their own."""
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
    """Groups of members with equal class and mark; their order depends on names alone."""
    found: dict[tuple[Kind, PolicyClass, object], list[Member]] = {}
    for kind, member, policy_class in members:
        found.setdefault((kind, policy_class, mark(member)), []).append(member)
    return [(Group(kind, tuple(m)), policy_class) for (kind, policy_class, _), m in found.items()]


def _outside(
    cluster: Cluster, classes: PolicyClasses, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, PolicyClass]]:
    """Each prefix that a policy names, meaning its addresses that are in no longer one.

    The internet, 0.0.0.0/0 and ::/0, is one end of both families.
    """
    strangers = _other_endpoints(cluster)
    ranges = source_ranges(cluster)
    inside = _inside(cluster)
    everywhere: dict[int, Side] = {}
    for prefix, sender, receiver in _atoms(classes, strangers.union(more, ranges)):
        side = Side(
            classes.identities["ingress"].number(sender),
            classes.identities["egress"].number(receiver),
        )
        if prefix.prefixlen == 0:
            everywhere[prefix.version] = side
        elif not inside(prefix):
            four = prefix.version == 4
            admitted = classes.ranges.number(frozenset(r for r in ranges if holds(r, prefix)))
            v4, v6 = (side, None) if four else (None, side)
            yield prefix, PolicyClass(OPEN, OPEN, v4, v6, ranges=admitted)
    if everywhere:
        admitted = classes.ranges.number(frozenset(r for r in ranges if not r.prefixlen))
        v4, v6 = everywhere.get(4), everywhere.get(6)
        yield INTERNET, PolicyClass(OPEN, OPEN, v4, v6, ranges=admitted)


def _atoms(
    classes: PolicyClasses, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, Identity, Identity]]:
    """The prefixes of both directions together, without those that longer ones cover completely."""
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
    """All prefixes that are members of their own outside this cluster."""
    named = (prefix for found in classes.prefixes.values() for prefix in found)
    return _other_endpoints(cluster).union(named, source_ranges(cluster))


def source_ranges(cluster: Cluster) -> frozenset[IPNetwork]:
    """The prefixes from which Services take traffic of load balancers."""
    services = cluster.services.values()
    return frozenset(prefix for service in services for prefix in service.source_ranges)


def _taken(cluster: Cluster) -> frozenset[IPAddress]:
    """The addresses of pods and nodes."""
    pods = (a for pod in own_network(cluster.pods.values()) for a in pod.addresses)
    nodes = (
        a for node in cluster.nodes.values() for a in (*node.addresses, *node.external_addresses)
    )
    return frozenset((*pods, *nodes))


def _other_endpoints(cluster: Cluster) -> frozenset[IPNetwork]:
    """Endpoints of Services that are outside, as host prefixes: not those of pods and nodes, and no
    addresses of pod prefixes that no pod has.
    """
    endpoints = {e.address for slice_ in cluster.slices.values() for e in slice_.endpoints}
    others = endpoints - _taken(cluster) if endpoints else ()
    return frozenset(host_prefix(a) for a in others if next(cluster.nodes_around(a), None) is None)


def _inside(cluster: Cluster) -> Callable[[IPNetwork], bool]:
    """A function that tells whether a prefix is completely the cluster's: pod prefixes or nodes."""
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

"""Parties: ends that no policy tells apart, with who belongs to them.

    pods       by their standing, so one party may have pods of many workloads and namespaces
    nodes      by their standing; host-network pods are their node
    outside    prefixes that policies name, without those inside them, and addresses that Services
               lead to although they are no pod's; "internet" is all the rest

Pods that are finished or have no address yet are in no party: nothing can reach them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix, parse_prefix, sort_key
from steppe.policy.identities import Identity
from steppe.reach.policy_classes import DIRECTIONS, OPEN, Side, Standing, Standings

Kind = Literal["pods", "nodes", "outside"]
Member = Pod | Node | IPNetwork
INTERNET = parse_prefix("0.0.0.0/0")
"""Stands for ::/0 as well: outside is one end, of two families."""


class Party(msgspec.Struct, frozen=True):
    """Ends of one standing, in order of their names."""

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


def standing_members(
    cluster: Cluster, standings: Standings, prefixes: Iterable[IPNetwork] = ()
) -> Iterator[tuple[Kind, Member, Standing]]:
    """Everybody there is, with their standing; these prefixes apart though no policy does it."""
    for pod in sorted(own_network(cluster.pods.values()), key=lambda pod: pod.ref):
        yield "pods", pod, standings.of_pod(pod)
    for node in sorted(cluster.nodes.values(), key=lambda node: node.name):
        if node.addresses:
            yield "nodes", node, standings.of_node(node)
    for prefix, standing in _outside(cluster, standings, prefixes):
        yield "outside", prefix, standing


def parties_of(
    members: Iterable[tuple[Kind, Member, Standing]], mark: Callable[[Member], object]
) -> list[tuple[Party, Standing]]:
    """Alike ones together, those marked alike; the order depends on names alone."""
    found: dict[tuple[Kind, Standing, object], list[Member]] = {}
    for kind, member, standing in members:
        found.setdefault((kind, standing, mark(member)), []).append(member)
    return [(Party(kind, tuple(m)), standing) for (kind, standing, _), m in found.items()]


def _outside(
    cluster: Cluster, standings: Standings, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, Standing]]:
    """Each prefix that some policy names, as the addresses in it that no longer one holds.

    The internet, 0.0.0.0/0 and ::/0, is one end of both families.
    """
    strangers = _strangers(cluster)
    inside = _inside(cluster)
    everywhere: dict[int, Side] = {}
    for prefix, sender, receiver in _atoms(standings, strangers.union(more)):
        side = Side(
            standings.identities["ingress"].number(sender),
            standings.identities["egress"].number(receiver),
        )
        if prefix.prefixlen == 0:
            everywhere[prefix.version] = side
        elif prefix in strangers or not inside(prefix):
            four = prefix.version == 4
            yield prefix, Standing(OPEN, OPEN, side if four else None, None if four else side)
    if everywhere:
        yield INTERNET, Standing(OPEN, OPEN, everywhere.get(4), everywhere.get(6))


def _atoms(
    standings: Standings, more: Iterable[IPNetwork]
) -> Iterator[tuple[IPNetwork, Identity, Identity]]:
    """Prefixes of both directions laid over each other, but those that others use up."""
    named = [standings.prefixes[direction] for direction in DIRECTIONS]
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


def of_kind(parties: Sequence[Party], kind: Kind) -> int:
    """A mask of the parties of this kind."""
    return sum(1 << number for number, party in enumerate(parties) if party.kind == kind)


def named_prefixes(cluster: Cluster, standings: Standings) -> frozenset[IPNetwork]:
    """All prefixes that keep the outside of this cluster apart."""
    named = (prefix for found in standings.prefixes.values() for prefix in found)
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

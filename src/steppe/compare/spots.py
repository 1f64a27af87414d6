"""Ends that stand for all the ends that no policy tells apart, under one or several sets of
policies, and the addresses at which each may be.

A pod whose address is not known (AddressInDoubt) is asked about at one address of every prefix that
a policy names and in which pods may be. So what differs nowhere is the same whatever the address
will be, and what differs everywhere differs for certain.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from steppe.judge.classes import VERSIONS, PolicyClass, PolicyClasses
from steppe.judge.doubts import POD_NETWORKS
from steppe.judge.judge import DEFAULTS, End, Judge, is_own_node, judge_of
from steppe.kube.cluster import Cluster, Name
from steppe.kube.doubt import AddressInDoubt
from steppe.kube.objects import Node, Pod
from steppe.net.address import (
    IPAddress,
    IPNetwork,
    holds,
    host_prefix,
    parse_address,
    parse_prefix,
    sort_key,
)
from steppe.reach.groups import INTERNET, Member, classed_members, named_prefixes
from steppe.reach.names import member_name
from steppe.settings import Settings

_EXAMPLES = tuple(map(parse_address, ("203.0.113.1", "198.51.100.1", "2001:db8::1", "2001:db9::1")))
"""Addresses that stand for the internet."""
_STANDING_FOR = 2
"""So many ends stand for each class: one for the other, as everybody reaches itself."""


class Spot(msgspec.Struct, frozen=True):
    """An end at one address, and its policy class under each set of policies."""

    end: End
    classes: tuple[PolicyClass, ...]


class Stand(msgspec.Struct, frozen=True):
    """An end that stands for its class: its name, the end itself, and where it may be, by version.

    `spots` has one entry for an address that is known, and several for one that is not.
    """

    name: str
    member: Member
    spots: dict[int, tuple[Spot, ...]]

    @property
    def is_pod(self) -> bool:
        return isinstance(self.member, Pod)


class Stands:
    """All ends of a cluster under several sets of policies, class by class.

    Invariant: two ends of one class are told apart by no policy of any of the sets; each class has
    up to two ends that stand for it, on different nodes where there are such.
    """

    def __init__(self, clusters: Sequence[Cluster], settings: Settings = DEFAULTS) -> None:
        """`clusters` differ in their policies and doubts alone."""
        self.asked = tuple(judge_of(cluster, settings) for cluster in clusters)
        """The judges that a witness is held against: with every doubt."""
        self._unknown = frozenset(
            (doubt.about.namespace, doubt.about.pod)
            for cluster in clusters
            for doubt in cluster.doubts
            if isinstance(doubt.about, AddressInDoubt)
        )
        self.judges = tuple(
            judge_of(_addressed(cluster), settings) if self._unknown else asked
            for cluster, asked in zip(clusters, self.asked, strict=True)
        )
        """The judges of spots, whose addresses are known."""
        self._cluster = self.judges[0].cluster
        self._named = frozenset(parse_prefix(each) for each in ("0.0.0.0/0", "::/0")).union(
            *(named_prefixes(judge.cluster, judge.classes) for judge in self.judges)
        )
        self.all: tuple[tuple[Stand, ...], ...] = tuple(self._classes())
        """The ends that stand for each class."""

    def pairs(self) -> Iterator[tuple[Stand, Stand]]:
        """A sender and a receiver for each two classes, except where policies have no say: an end
        to itself, a node to its own pods, and flows without a pod.
        """
        for senders in self.all:
            for receivers in self.all:
                if not (senders[0].is_pod or receivers[0].is_pod):
                    continue
                found = ((s, r) for s in senders for r in receivers if _is_judged(s, r))
                pair = next(found, None)
                if pair is not None:
                    yield pair

    def _classes(self) -> Iterator[tuple[Stand, ...]]:
        by_class: dict[object, list[Member]] = {}
        known = [
            {member_name(member): (kind, member, found) for kind, member, found in self._of(judge)}
            for judge in self.asked
        ]
        for name, (kind, member, found) in known[0].items():
            key = (kind, self._doubted(member), found, *(each[name][2] for each in known[1:]))
            by_class.setdefault(key, []).append(member)
        for members in by_class.values():
            stands = (self._stand(member) for member in _standing(members))
            told = tuple(islice((s for s in stands if any(s.spots.values())), _STANDING_FOR))
            if told:
                yield told

    def _of(self, judge: Judge) -> Iterator[tuple[str, Member, PolicyClass]]:
        return classed_members(judge.cluster, judge.classes, self._named)

    def _doubted(self, member: Member) -> bool:
        return isinstance(member, Pod) and _name(member) in self._unknown

    def _stand(self, member: Member) -> Stand:
        spots = {
            version: tuple(self._spot(end) for end in self._ends(member, version))
            for version in VERSIONS
        }
        return Stand(member_name(member), member, spots)

    def _spot(self, end: End) -> Spot:
        return Spot(end, tuple(_class_of(judge.classes, end) for judge in self.judges))

    def _ends(self, member: Member, version: int) -> Iterator[End]:
        """The end as it may be in one family."""
        if isinstance(member, Pod | Node):
            if all(address.version != version for address in member.addresses):
                return
            if not isinstance(member, Pod) or not self._doubted(member):
                yield member
                return
            for address in self._possible(version):
                yield msgspec.structs.replace(member, addresses=(address,))
            return
        prefix = parse_prefix("::/0") if member == INTERNET and version == 6 else member
        if prefix.version == version:
            free = free_address(prefix, (*self._inner(prefix), *self._of_nodes()))
            if free is not None:
                yield free

    def _possible(self, version: int) -> Iterator[IPAddress]:
        """An address of each prefix in which an unknown address may be."""
        networks = [network for network in POD_NETWORKS if network.version == version]
        for prefix in sorted(self._named, key=sort_key):
            if prefix.version != version:
                continue
            for network in networks:
                if not prefix.overlaps(network):
                    continue
                meeting = prefix if holds(network, prefix) else network
                address = free_address(meeting, self._inner(prefix))
                alone = prefix.prefixlen == prefix.max_prefixlen
                if address is not None and not (alone and self._is_taken(address)):
                    yield address
                    break

    def _is_taken(self, address: IPAddress) -> bool:
        holders = self._cluster.pods_at(address)
        return bool(self._cluster.nodes_at(address)) or any(
            not self._doubted(pod) for pod in holders
        )

    def _inner(self, prefix: IPNetwork) -> tuple[IPNetwork, ...]:
        """The named prefixes inside this one."""
        return tuple(p for p in self._named if p != prefix and holds(prefix, p))

    def _of_nodes(self) -> tuple[IPNetwork, ...]:
        nodes = self._cluster.nodes.values()
        own = (host_prefix(a) for n in nodes for a in n.addresses)
        return (*own, *(prefix for node in nodes for prefix in node.networks))


def _addressed(cluster: Cluster) -> Cluster:
    """The cluster without doubts about addresses: its spots are asked at addresses of their own."""
    kept = tuple(d for d in cluster.doubts if not isinstance(d.about, AddressInDoubt))
    return msgspec.structs.replace(cluster, doubts=kept)


def _standing(members: Sequence[Member]) -> Iterator[Member]:
    """The ends of a class, the first two on different nodes if there are such."""
    first = members[0]
    own = first.node if isinstance(first, Pod) else ""
    yield first
    yield from sorted(members[1:], key=lambda each: isinstance(each, Pod) and each.node == own)


def _class_of(classes: PolicyClasses, end: End) -> PolicyClass:
    if isinstance(end, Pod):
        return classes.of_pod(end)
    return classes.of_node(end) if isinstance(end, Node) else classes.of_other(end)


def _is_judged(sender: Stand, receiver: Stand) -> bool:
    return sender.name != receiver.name and not is_own_node(sender.member, receiver.member)


def _name(pod: Pod) -> Name:
    return pod.namespace, pod.name


def free_address(prefix: IPNetwork, taken: Iterable[IPNetwork]) -> IPAddress | None:
    """An address of a prefix that is in none of these, one that people expect if there is one;
    None if they cover it.
    """
    inside = sorted((t for t in taken if t.overlaps(prefix)), key=sort_key)
    for address in _EXAMPLES if not prefix.prefixlen else ():
        if address.version == prefix.version and not any(address in each for each in inside):
            return address
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    for start in (first + 1, first):
        number = start
        for each in inside:
            if int(each.network_address) <= number <= int(each.broadcast_address):
                number = int(each.broadcast_address) + 1
        if number <= last:
            return prefix.network_address + (number - first)
    return None

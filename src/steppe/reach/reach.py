"""Who reaches whom in one cluster: by groups with a matrix, and exactly for single ends.

    reach = reach_of(cluster)
    for row in reach.rows(receiver): ...        by groups: for clusters of any size
    reach.between(pod, other, 4)                two ends, with the causes

It decides about connections as oracle/policy.py does: from the real sender's address to the pod
that really receives. It does not decide whether packets can be routed there: from outside, pods are
reachable through Services only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import msgspec

from steppe.kube.cluster import Cluster, Name
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, parse_prefix
from steppe.net.lpm import LongestPrefix
from steppe.net.ports import EVERYTHING, PortSet
from steppe.policy.guards import Guard, Piece
from steppe.reach.groups import (
    INTERNET,
    Group,
    Kind,
    Member,
    classed_members,
    groups_of,
    of_kind,
)
from steppe.reach.matrix import Mask, Matrix, Row, both_of, pieces_between
from steppe.reach.policy_classes import PolicyClass, PolicyClasses
from steppe.service.granted import granted
from steppe.settings import Settings

End = Pod | Node | IPAddress
"""A pod, a node (by its first address of a family), or an address outside the cluster."""

ALL = tuple(Piece(r.protocol, r.first, r.last, allowed=True) for r in EVERYTHING.ranges)


class Reach:
    """Reach between all pairs of these groups, restricted to the wanted ports.

    Invariant: it depends on the cluster and the groups alone. A group without a policy class does
    not exist in this state of the cluster, but in the other one of a Difference.
    """

    def __init__(
        self,
        cluster: Cluster,
        classes: PolicyClasses,
        groups: Iterable[tuple[Group, PolicyClass | None]],
        wanted: PortSet = EVERYTHING,
    ) -> None:
        known = tuple(groups)
        self.cluster = cluster
        self.wanted = wanted
        self.classes = classes
        self.groups: tuple[Group, ...] = tuple(group for group, _ in known)
        self.class_of_group: tuple[PolicyClass | None, ...] = tuple(
            policy_class for _, policy_class in known
        )
        self.matrix = Matrix(classes, self.class_of_group)

    def rows(self, receiver: int, senders: Mask = -1) -> Iterator[Row]:
        """The rows of a receiver; flows without a pod at either end are left out."""
        if self.groups[receiver].kind != "pods":
            senders &= self.of_kind("pods")
        yield from self.matrix.rows(receiver, senders & self.everyone, self.wanted)

    def pieces(self, sender: int, receiver: int, version: int) -> tuple[Piece, ...]:
        """The decision for two groups on every port, with causes."""
        here, there = self.class_of_group[sender], self.class_of_group[receiver]
        if here is None or there is None:
            return ()
        return pieces_between(self.classes, here, there, version)

    def between(
        self, sender: End, receiver: End, version: int, *, via_service: bool = False
    ) -> tuple[Piece, ...]:
        """The decision for packets between two ends.

        () if they have no addresses of this family.
        """
        here, there = self._class_of(sender), self._class_of(receiver)
        if here.side(version) is None or there.side(version) is None:
            return ()
        if sender == receiver and isinstance(sender, Pod):
            # "a pod cannot block access to itself" (Network Policies)
            return self._to_itself(here, version) if via_service else ALL
        if isinstance(sender, Node) and isinstance(receiver, Pod) and receiver.node == sender.name:
            # "Traffic is allowed to a pod if … the traffic source is the pod's local node"
            # (NetworkPolicySpec.ingress)
            return ALL
        return pieces_between(self.classes, here, there, version)

    @cached_property
    def everyone(self) -> Mask:
        return (1 << len(self.groups)) - 1

    def of_kind(self, kind: Kind) -> Mask:
        return of_kind(self.groups, kind)

    @cached_property
    def group_of_pod(self) -> Mapping[Name, int]:
        return {
            (pod.namespace, pod.name): number
            for number, group in enumerate(self.groups)
            for pod in group.pods
        }

    @cached_property
    def group_of_node(self) -> Mapping[str, int]:
        return {n.name: i for i, group in enumerate(self.groups) for n in group.nodes}

    def group_at(self, address: IPAddress) -> int | None:
        """The group of the end that has an address; None if it is in no group."""
        end = self.end_at(address)
        if isinstance(end, Pod):
            return self.group_of_pod[end.namespace, end.name]
        if isinstance(end, Node):
            return self.group_of_node.get(end.name)
        found = self._prefixes.lookup(address)
        return found[1] if found is not None else None

    def end_at(self, address: IPAddress) -> End:
        """The end that has the address."""
        holders = self.cluster.pods_at(address) or self.cluster.nodes_at(address)
        return holders[-1] if holders else address

    @cached_property
    def _prefixes(self) -> LongestPrefix[int | None]:
        # An address of a pod prefix that no pod has is not outside: it belongs to no group.
        nodes = self.cluster.nodes.values()
        found: dict[IPNetwork, int | None] = {p: None for node in nodes for p in node.networks}
        for number, group in enumerate(self.groups):
            found |= dict.fromkeys(group.prefixes, number)
        if INTERNET in found:
            found[parse_prefix("::/0")] = found[INTERNET]
        return LongestPrefix(found)

    def _class_of(self, end: End) -> PolicyClass:
        if isinstance(end, Pod):
            return self.classes.of_pod(end)
        if isinstance(end, Node):
            return self.classes.of_node(end)
        return self.classes.of_other(end)

    def _to_itself(self, own: PolicyClass, version: int) -> tuple[Piece, ...]:
        """What a pod may send itself through a Service.

        NetworkPolicies always allow this; the tiers of ClusterNetworkPolicies still apply.
        """
        side = own.side(version)
        if side is None:
            return ()
        known = self.classes
        egress = _not_isolated(known.guards["egress"].values[own.egress])
        ingress = _not_isolated(known.guards["ingress"].values[own.ingress])
        return both_of(
            egress.pieces(known.identities["egress"].values[side.receiver]),
            ingress.pieces(known.identities["ingress"].values[side.sender]),
        )


DEFAULTS = Settings()


def reach_of(
    cluster: Cluster,
    wanted: PortSet = EVERYTHING,
    mark: Callable[[Member], object] = lambda _: None,
    settings: Settings = DEFAULTS,
) -> Reach:
    """Reach in one cluster; `mark` keeps members apart although no policy does.

    `settings` say what its objects may claim.
    """
    cluster, _ = granted(cluster, settings)
    classes = PolicyClasses(cluster)
    members = classed_members(cluster, classes)
    return Reach(cluster, classes, groups_of(members, mark), wanted)


def _not_isolated(guard: Guard) -> Guard:
    """The guard with NetworkPolicies that allow everything that the Admin tier passes on."""
    if not guard.isolated:
        return guard
    return msgspec.structs.replace(guard, isolated=(), allowing=(), baseline=())

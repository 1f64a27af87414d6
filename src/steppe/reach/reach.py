"""Who reaches whom in one cluster: by groups with a matrix, and exactly for single ends.

    reach = reach_of(cluster)
    for row in reach.rows(receiver): ...        by groups: for clusters of any size
    reach.between(pod, other, 4)                two ends, with the causes (asks the judge)

Rows say what policies let through, from the real sender's address to the pod that really receives.
They do not say whether packets can be routed there: from outside, pods are reached through Services
only (reach/outside.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import get_args

import msgspec

from steppe.judge.classes import VERSIONS, PolicyClass
from steppe.judge.doubts import Bound
from steppe.judge.judge import DEFAULTS, End, Judge, judge_of
from steppe.kube.cluster import Cluster, Name
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, parse_prefix
from steppe.net.lpm import LongestPrefix
from steppe.net.ports import EVERYTHING, NOTHING, PortSet
from steppe.policy.guards import Piece
from steppe.reach.groups import (
    INTERNET,
    Group,
    Kind,
    Member,
    classed_members,
    groups_of,
    of_kind,
)
from steppe.reach.matrix import Mask, Matrix, Row, bits
from steppe.settings import Settings


class Reach:
    """Reach between all pairs of these groups, restricted to the wanted ports.

    Invariant: it depends on the cluster and the groups alone. A group without a policy class does
    not exist in this state of the cluster, but in the other one of a Difference.
    """

    def __init__(
        self,
        judge: Judge,
        groups: Iterable[tuple[Group, PolicyClass | None]],
        wanted: PortSet = EVERYTHING,
    ) -> None:
        known = tuple(groups)
        self.judge = judge
        self.cluster: Cluster = judge.cluster
        self.wanted = wanted
        self.classes = judge.classes
        self.groups: tuple[Group, ...] = tuple(group for group, _ in known)
        self.class_of_group: tuple[PolicyClass | None, ...] = tuple(
            policy_class for _, policy_class in known
        )
        self.matrix = self._matrix("least")
        """What is allowed whatever the doubts come to."""
        self.possible = self.matrix
        """What may be allowed; the same where nothing is in doubt."""
        if any(known is not None and known.most is not None for known in self.class_of_group):
            self.possible = self._matrix("most")

    def _matrix(self, bound: Bound) -> Matrix:
        ends = (known and known.bound(bound) for known in self.class_of_group)
        return Matrix(self.classes, tuple(ends))

    def rows(self, receiver: int, senders: Mask = -1, *, exactly: bool = False) -> Iterator[Row]:
        """The rows of a receiver; flows without a pod at either end are left out.

        `exactly`: with rows for senders that policies never keep out. Else these are as the other
        members of their groups are.
        """
        if self.groups[receiver].kind != "pods":
            senders &= self.of_kind("pods")
        always = self._always(receiver) & senders & self.everyone if exactly else 0
        for number in bits(always):
            yield self._everything(number, receiver)
        senders &= self.everyone & ~always
        rows = self.matrix.rows(receiver, senders, self.wanted)
        if self.certain:
            yield from rows
            return
        most = tuple(self.possible.rows(receiver, senders, self.wanted))
        for row in rows:
            for other in most:
                if row.senders & other.senders:
                    yield _with_doubt(row, other)

    def _always(self, receiver: int) -> Mask:
        """The senders that policies never keep from a receiver: the node of all its pods, and a
        single pod itself.
        """
        group = self.groups[receiver]
        found = 1 << receiver if len(group.pods) == 1 else 0
        nodes = {pod.node for pod in group.pods}
        number = self.group_of_node.get(nodes.pop()) if len(nodes) == 1 else None
        if number is not None and len(self.groups[number].members) == 1:
            found |= 1 << number
        return found

    def _everything(self, sender: int, receiver: int) -> Row:
        v4, v6 = (
            self.wanted
            if self.matrix.present(version) >> sender & self.matrix.present(version) >> receiver & 1
            else None
            for version in VERSIONS
        )
        return Row(1 << sender, v4, v6, always=True)

    @property
    def certain(self) -> bool:
        """Whether nothing that policies say is in doubt."""
        return self.possible is self.matrix

    def pieces(
        self, sender: int, receiver: int, version: int, bound: Bound = "least"
    ) -> tuple[Piece, ...]:
        """The decision for two groups on every port, with causes."""
        here, there = self.class_of_group[sender], self.class_of_group[receiver]
        if here is None or there is None:
            return ()
        return self.classes.between(here.bound(bound), there.bound(bound), version)

    def between(
        self, sender: End, receiver: End, version: int, *, via_service: bool = False
    ) -> tuple[Piece, ...]:
        """What policies say of packets between two ends (judge/judge.py)."""
        return self.judge.between(sender, receiver, version, via_service=via_service)

    @cached_property
    def everyone(self) -> Mask:
        return (1 << len(self.groups)) - 1

    def of_kind(self, kind: Kind) -> Mask:
        return self._of_kind[kind]

    @cached_property
    def _of_kind(self) -> Mapping[Kind, Mask]:
        return {kind: of_kind(self.groups, kind) for kind in get_args(Kind)}

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
        return self.judge.end_at(address)

    @cached_property
    def _prefixes(self) -> LongestPrefix[int | None]:
        # An address of a pod prefix that no pod has is not outside: it belongs to no group.
        nodes = self.cluster.nodes.values()
        found: dict[IPNetwork, int | None] = {p: None for node in nodes for p in node.networks}
        for number, group in enumerate(self.groups):
            found |= dict.fromkeys(group.prefixes, number)
        if INTERNET in found:
            found[parse_prefix("::/0")] = found[INTERNET]
        return LongestPrefix(found.items())


def _with_doubt(row: Row, most: Row) -> Row:
    """What is allowed at least, with what more may be allowed, for the senders of both rows."""
    unknown = NOTHING
    for version in VERSIONS:
        least, at_most = row.version(version), most.version(version)
        if least is not None and at_most is not None:
            unknown |= at_most - least
    return msgspec.structs.replace(row, senders=row.senders & most.senders, unknown=unknown)


def reach_of(
    cluster: Cluster,
    wanted: PortSet = EVERYTHING,
    mark: Callable[[Member], object] = lambda _: None,
    prefixes: Iterable[IPNetwork] = (),
    settings: Settings = DEFAULTS,
) -> Reach:
    """Reach in one cluster; `mark` keeps members apart although no policy does.

    `prefixes` become members of their own outside the cluster; `settings` say what its objects may
    claim.
    """
    judge = judge_of(cluster, settings)
    members = classed_members(judge.cluster, judge.classes, prefixes)
    return Reach(judge, groups_of(members, mark), wanted)

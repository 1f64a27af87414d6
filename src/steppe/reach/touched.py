"""What a change of the cluster touches, where it is not known what it does.

A flow that is not known before and not known after may change all the same: by another rule of
policies that are read, behind one that cannot be. It is told only where the change touches one of
its ends; what is not known and not touched stays what it is.
"""

from collections.abc import Iterator
from functools import cached_property

from steppe.judge.classes import DIRECTIONS
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import member_name
from steppe.reach.reach import Reach

_Own = tuple[object, ...]


class Touched:
    """The groups and Services of two states for which something decides otherwise in the other.

    Invariant: both states have the same groups; what it answers depends on the states alone.
    """

    def __init__(self, before: Reach, after: Reach) -> None:
        self._states = (before, after)

    @cached_property
    def groups(self) -> Mask:
        """The groups with a member that has other policies, labels or doubts than before."""
        old, new = (state.cluster for state in self._states)
        if old.cluster_policies != new.cluster_policies:
            return (1 << len(self._states[0].groups)) - 1
        was, will = (dict(_members(state)) for state in self._states)
        found = 0
        for name in was.keys() | will.keys():
            (number, one), (other, two) = (side.get(name, (-1, ())) for side in (was, will))
            if one != two:
                found |= 1 << max(number, other)
        return found

    def service(self, name: tuple[str, str]) -> bool:
        """Whether a Service, its endpoints or one of their pods is touched."""
        old, new = (self._of_service(state, name) for state in self._states)
        return old != new or any(self.groups >> number & 1 for number in old[-1])

    def _of_service(self, state: Reach, name: tuple[str, str]) -> tuple[object, object, list[int]]:
        service = state.cluster.services.get(name)
        slices = state.cluster.slices_of(service) if service is not None else ()
        ends = [endpoint.address for slice_ in slices for endpoint in slice_.endpoints]
        groups = map(state.group_at, ends)
        return service, tuple(slices), sorted({n for n in groups if n is not None})


def _members(state: Reach) -> Iterator[tuple[str, tuple[int, _Own]]]:
    """Each member with its group and all that decides about it."""
    for number in bits(state.everyone):
        for member in state.groups[number].members:
            yield member_name(member), (number, _own(state, member))


def _own(state: Reach, member: Member) -> _Own:
    if isinstance(member, Pod):
        doubts = state.judge.doubts
        return (
            sorted(member.labels.items()),
            member.addresses,
            member.ports,
            _labels(state.cluster, member.namespace),
            sorted(state.cluster.policies_on(member), key=lambda policy: policy.name),
            [doubts.policies(member, direction) for direction in DIRECTIONS],
            doubts.address(member),
        )
    return (sorted(member.labels.items()), member.addresses) if isinstance(member, Node) else ()


def _labels(cluster: Cluster, namespace: str) -> object:
    known = cluster.namespaces.get(namespace)
    return sorted(known.labels.items()) if known is not None else None

"""What a change of the cluster touches, where it is not known what it does.

A flow that is not known before and not known after may change all the same: by another rule of
policies that are read, behind one that cannot be. It is told only where the change touches one of
its ends; what is not known and not touched stays what it is.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property

from steppe.judge.classes import DIRECTIONS, EGRESS, INGRESS
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Direction
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask
from steppe.reach.names import member_name
from steppe.reach.reach import Reach

_Own = tuple[object, ...]


class Touched:
    """The groups and Services of two states for which something decides otherwise in the other.

    Invariant: both states have the same groups; what it answers depends on the states alone.
    """

    def __init__(self, before: Reach, after: Reach) -> None:
        self._states = (before, after)

    @property
    def senders(self) -> Mask:
        """The groups with a member that is another peer, or has other policies for egress."""
        return self._groups[EGRESS]

    @property
    def receivers(self) -> Mask:
        """The same for ingress."""
        return self._groups[INGRESS]

    def service(self, name: tuple[str, str]) -> bool:
        """Whether a Service, its endpoints or one of their pods is touched."""
        old, new = (self._of_service(state, name) for state in self._states)
        return old != new or any(self.receivers >> number & 1 for number in old[-1])

    def _of_service(self, state: Reach, name: tuple[str, str]) -> tuple[object, object, list[int]]:
        service = state.cluster.services.get(name)
        slices = state.cluster.slices_of(service) if service is not None else ()
        groups = (state.group_at(e.address) for slice_ in slices for e in slice_.endpoints)
        return service, tuple(slices), sorted({n for n in groups if n is not None})

    @cached_property
    def _groups(self) -> Mapping[Direction, Mask]:
        old, new = self._states
        if old.cluster.cluster_policies != new.cluster.cluster_policies:
            return dict.fromkeys(DIRECTIONS, old.everyone)
        return {direction: self._other(direction) for direction in DIRECTIONS}

    def _other(self, direction: Direction) -> Mask:
        was, will = (dict(_members(state, direction)) for state in self._states)
        found = 0
        for name in was.keys() | will.keys():
            old, new = was.get(name), will.get(name)
            known = new if new is not None else old
            if old != new and known is not None:
                found |= 1 << known[0]
        return found


def _members(state: Reach, direction: Direction) -> Iterator[tuple[str, tuple[int, _Own]]]:
    """Each member with its group and all that decides about it in one direction."""
    for number, group in enumerate(state.groups):
        for member in group.members:
            yield member_name(member), (number, _own(state, member, direction))


def _own(state: Reach, member: Member, direction: Direction) -> _Own:
    if not isinstance(member, Pod):
        return (member.labels, member.addresses) if isinstance(member, Node) else ()
    doubts = state.judge.doubts
    space = state.cluster.namespaces.get(member.namespace)
    return (
        (member.labels, member.addresses, member.ports, space.labels if space else None),
        doubts.address(member),
        doubts.policies(member, direction),
        [
            (policy.name, policy.rules(direction))
            for policy in sorted(state.cluster.policies_on(member), key=lambda each: each.name)
            if direction in policy.isolates
        ],
    )

"""Pods of this node with their policies, and the rulings of pods that have equal guards."""

from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Pod, Workload
from steppe.kube.policies import Direction, NetworkPolicy
from steppe.policy.guards import Guard, Piece, guard_from
from steppe.policy.identities import NOBODY, Identity
from steppe.policy.rulings import Ruling, ruling


class Subject(msgspec.Struct, frozen=True):
    """A pod of this node and the policies that select it.

    `pod` is None while the API has no such object. Its labels are not known then, so any policy of
    its namespace may select it: if there is one, the subject is `doubtful` and nothing is allowed.
    """

    workload: Workload
    pod: Pod | None
    policies: tuple[NetworkPolicy, ...] = ()
    cluster_policies: tuple[ClusterNetworkPolicy, ...] = ()
    doubtful: bool = False

    def guard(self, direction: Direction) -> Guard:
        if self.doubtful:
            return Guard(direction, isolated=(Cause(self.workload.ref, "metadata.labels"),))
        if self.pod is None:
            return Guard(direction)
        return guard_from(self.pod, direction, self.policies, self.cluster_policies)


class Group:
    """Pods with equal guards, and so with the same ruling on each identity.

    Invariant: a ruling depends only on the guard and on those traits of the identities that the
    guard looks at, so each is computed once and never changes.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.looks_at = guard.looks_at()
        self.links: set[str] = set()
        self._pieces: dict[Identity, tuple[Piece, ...]] = {}
        self._rulings: dict[frozenset[Identity], Ruling] = {}
        self._own_rulings: dict[Identity, Ruling] = {}

    def ruling(self, identities: Iterable[Identity]) -> Ruling | None:
        """The ruling on all these identities together; None if it is the same as for anyone."""
        seen = frozenset(identity.seen_by(self.looks_at) for identity in identities)
        return None if seen <= {NOBODY} else self._ruling(seen)

    def anyone(self) -> Ruling:
        return self._ruling(frozenset((NOBODY,)))

    def itself(self, identity: Identity) -> Ruling:
        seen = identity.seen_by(self.looks_at)
        if seen not in self._own_rulings:
            self._own_rulings[seen] = ruling(self.guard, [self.guard.itself(seen)])
        return self._own_rulings[seen]

    def _ruling(self, seen: frozenset[Identity]) -> Ruling:
        found = self._rulings.get(seen)
        if found is None:
            found = ruling(self.guard, map(self.guard.pieces, seen))
            self._rulings[seen] = found
        return found

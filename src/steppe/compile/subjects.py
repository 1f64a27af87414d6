"""Pods of this node as policies see them, and what those under equal guards make of their peers."""

from collections.abc import Iterable

import msgspec

from steppe.dataplane.nft.policies import Verdict, verdict
from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Pod, Workload
from steppe.kube.policies import Direction, NetworkPolicy
from steppe.policy.guards import Guard, Piece, guard_from
from steppe.policy.identities import NOBODY, Identity


class Subject(msgspec.Struct, frozen=True):
    """A pod of this node and the policies that select it.

    `pod` is None while the API has none. Its labels are not known then, so any policy of its
    namespace may select it: if there is one, the pod is `doubtful`, and closed.
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
    """Pods under equal guards: what one makes of an identity, all do."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.looks_at = guard.looks_at()
        self.links: set[str] = set()
        self._pieces: dict[Identity, tuple[Piece, ...]] = {}
        self._verdicts: dict[frozenset[Identity], Verdict] = {}
        self._own_verdicts: dict[Identity, Verdict] = {}

    def verdict(self, identities: Iterable[Identity]) -> Verdict | None:
        """On all of these together; None where the guard cannot tell them from anyone."""
        seen = frozenset(identity.seen_by(self.looks_at) for identity in identities)
        return None if seen <= {NOBODY} else self._verdict(seen)

    def anyone(self) -> Verdict:
        return self._verdict(frozenset((NOBODY,)))

    def itself(self, identity: Identity) -> Verdict:
        seen = identity.seen_by(self.looks_at)
        if seen not in self._own_verdicts:
            self._own_verdicts[seen] = verdict(self.guard, [self.guard.itself(seen)])
        return self._own_verdicts[seen]

    def _verdict(self, seen: frozenset[Identity]) -> Verdict:
        found = self._verdicts.get(seen)
        if found is None:
            found = verdict(self.guard, map(self.guard.pieces, seen))
            self._verdicts[seen] = found
        return found

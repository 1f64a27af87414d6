"""Which policies and rules of a set are redundant: removing them changes no flow.

Asked are the pods that are there, and pods that are not there yet, by every selector of the set
(reach/imagined.py): a policy that does nothing today may be the guard of tomorrow's pods.

Each is tried by itself: of two policies that say the same, each is redundant, and only one can go.
Only the guards of pods that a policy selects can change with it, so only their flows are asked.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import msgspec

from steppe.compare.relation import Excess, flow_of, together
from steppe.compare.spots import Spot, Stand, Stands
from steppe.compare.witness import Ruling, Said, Witness, witness
from steppe.judge.classes import DIRECTIONS, EGRESS, INGRESS, VERSIONS
from steppe.judge.judge import DEFAULTS
from steppe.judge.pieces import allowed_of, both_of, piece_at
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction, NetworkPolicy
from steppe.net.ports import OTHER, PortSet
from steppe.policy.guards import Guard, Piece, guard_of, isolates, selects
from steppe.reach.imagined import imagined
from steppe.settings import Settings

Policy = NetworkPolicy | ClusterNetworkPolicy


class Redundancy(msgspec.Struct, frozen=True):
    """Whether the policy, or the rule of it that `cause` names, may go without a change for any
    flow. The witness of a "no" is a flow that changes: with it, and without it.
    """

    cause: Cause
    said: Said
    witness: Witness | None = None

    @property
    def is_rule(self) -> bool:
        return self.cause.field != _WHOLE


_WHOLE = "spec"


def redundancies(cluster: Cluster, settings: Settings = DEFAULTS) -> Iterator[Redundancy]:
    """The answer for every policy, and for every rule of those that are not redundant."""
    worlds = tuple(Stands((known,), settings) for known in (cluster, imagined(cluster).cluster))
    policies: list[Policy] = [
        *cluster.network_policies.values(),
        *cluster.cluster_policies.values(),
    ]
    for policy in sorted(policies, key=lambda each: each.ref):
        whole = _answer(worlds, policy, None, Cause(policy.ref, _WHOLE))
        yield whole
        if whole.said != "no":
            continue
        for direction in DIRECTIONS:
            for rule in policy.rules(direction):
                less = _without(policy, direction, rule.field)
                yield _answer(worlds, policy, less, Cause(policy.ref, rule.field))


def _answer(
    worlds: Sequence[Stands], policy: Policy, instead: Policy | None, cause: Cause
) -> Redundancy:
    """The answer for the pods that are there; if it is yes, for those too that are not."""
    answer = Redundancy(cause, "yes")
    for stands in worlds:
        if answer.said == "yes":
            answer = _Without(stands, policy, instead).answer(cause)
    return answer


def _without(policy: Policy, direction: Direction, field: str) -> Policy:
    """The policy without one rule; the others keep their names."""
    kept = tuple(rule for rule in policy.rules(direction) if rule.field != field)
    changed: Policy = msgspec.structs.replace(policy, **{direction: kept})
    return changed


class _Without:
    """A set of policies in which one is replaced, or missing.

    Identities of peers stay those of the whole set: a guard looks only at those of its own rules.
    """

    def __init__(self, stands: Stands, policy: Policy, instead: Policy | None) -> None:
        self._stands = stands
        self._policy, self._instead = policy, instead
        self._judge = stands.judges[0]
        self._guards: dict[tuple[str, Direction], Guard | None] = {}
        self._pieces: dict[tuple[Guard, Direction, int], tuple[Piece, ...]] = {}

    def answer(self, cause: Cause) -> Redundancy:
        answer = Redundancy(cause, "yes")
        for pair in self._stands.pairs():
            if not any(map(self._is_selected, pair)):
                continue
            for version in VERSIONS:
                answer = self._after(answer, pair, version)
                if answer.said == "no":
                    return answer
        return answer

    def _after(self, known: Redundancy, pair: tuple[Stand, Stand], version: int) -> Redundancy:
        spots = tuple(product(*(end.spots[version] for end in pair)))
        changes = [self._change(pair, ends, version) for ends in spots]
        ports = next((each.perhaps for each in changes if each.perhaps), None)
        doubted = any(map(self._is_doubted, pair))
        if not spots or (ports is None and not doubted) or (ports is None and known.witness):
            return known
        if ports is None:
            return msgspec.structs.replace(known, said="unknown")
        surely = together([each.surely for each in changes])
        if known.witness is not None and not surely:
            return known
        proof = self._witness(pair, version, surely or ports, spots[0])
        certain = surely and not doubted and proof.rulings[0].said != "unknown"
        return Redundancy(known.cause, "no" if certain else "unknown", proof)

    def _witness(
        self, pair: tuple[Stand, Stand], version: int, ports: PortSet, ends: tuple[Spot, ...]
    ) -> Witness:
        found = witness(self._stands.asked, flow_of(pair, version), ports)
        protocol = OTHER if found.protocol == "ICMP" else found.protocol
        piece = piece_at(self._between(pair, ends, version), protocol, found.port)
        if piece is None:
            return found
        after = Ruling("yes" if piece.allowed else "no", piece.because)
        return msgspec.structs.replace(found, rulings=(*found.rulings, after))

    def _change(self, pair: tuple[Stand, Stand], ends: tuple[Spot, ...], version: int) -> Excess:
        here, there = (end.classes[0] for end in ends)
        before = allowed_of(self._judge.classes.between(here, there, version))
        after = allowed_of(self._between(pair, ends, version))
        if before == after:
            return Excess()
        changed = (before - after) | (after - before)
        return Excess(changed, changed)

    def _between(
        self, pair: tuple[Stand, Stand], ends: tuple[Spot, ...], version: int
    ) -> tuple[Piece, ...]:
        """The decision for two ends without the policy."""
        sender, receiver = pair
        here, there = (end.classes[0] for end in ends)
        sending, receiving = here.side(version), there.side(version)
        if sending is None or receiving is None:
            return ()
        return both_of(
            self._side(sender, EGRESS, here.egress, receiving.receiver),
            self._side(receiver, INGRESS, there.ingress, sending.sender),
        )

    def _side(
        self, own: Stand, direction: Direction, number: int, identity: int
    ) -> tuple[Piece, ...]:
        guard = self._guard(own, direction)
        classes = self._judge.classes
        if guard is None:
            return classes.pieces(direction, number, identity)
        key = (guard, direction, identity)
        if key not in self._pieces:
            self._pieces[key] = guard.pieces(classes.identities[direction].values[identity])
        return self._pieces[key]

    def _guard(self, own: Stand, direction: Direction) -> Guard | None:
        """The guard without the policy; None if it is the same."""
        key = (own.name, direction)
        if key not in self._guards:
            self._guards[key] = self._made(own, direction) if self._is_selected(own) else None
        return self._guards[key]

    def _made(self, own: Stand, direction: Direction) -> Guard:
        cluster, pod = self._judge.cluster, own.member
        if not isinstance(pod, Pod):
            return Guard(direction)
        kept: list[Policy] = [
            self._instead if policy is self._policy else policy  # type: ignore[misc]
            for policy in (*cluster.policies_in(pod.namespace), *cluster.cluster_policies.values())
            if policy is not self._policy or self._instead is not None
        ]
        return guard_of(
            pod,
            cluster.namespaces.get(pod.namespace),
            direction,
            (each for each in kept if isinstance(each, NetworkPolicy)),
            (each for each in kept if isinstance(each, ClusterNetworkPolicy)),
        )

    def _is_selected(self, stand: Stand) -> bool:
        pod = stand.member
        if not isinstance(pod, Pod):
            return False
        if isinstance(self._policy, NetworkPolicy):
            return isolates(self._policy, pod)
        return selects(self._policy.subject, pod, self._judge.cluster.namespaces.get(pod.namespace))

    def _is_doubted(self, stand: Stand) -> bool:
        """Whether a policy that cannot be read may select the pod."""
        pod = stand.member
        return isinstance(pod, Pod) and any(
            self._judge.doubts.policies(pod, direction) for direction in DIRECTIONS
        )

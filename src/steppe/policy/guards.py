"""Guards: what the policies of one pod allow a peer's identity, for all ports at once.

A guard contains the rules that apply to a pod in one direction, by tier. For an identity it returns
pieces: port ranges that are allowed or denied, each with the rules that decide it. Tables are made
of these pieces. Pods with the same policies have equal guards.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import get_args

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import Action, ClusterNetworkPolicy, Tier
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Direction,
    Namespace,
    NetworkPolicy,
    Pods,
    Port,
    PortName,
    Rule,
)
from steppe.net.ports import LAST_PORT, OTHER, PortProtocol, PortRange
from steppe.policy.identities import Identity, Trait


class Piece(msgspec.Struct, frozen=True):
    """A port range of one protocol (all ports for OTHER) with one decision and its causes.

    Without causes: no policy applies, so it is allowed.
    """

    protocol: str
    first: int
    last: int
    allowed: bool
    because: tuple[Cause, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    """A rule of a guard."""

    cause: Cause
    action: Action
    for_anyone: bool
    ports: tuple[Port, ...]


_Ranged = tuple[_Entry, tuple[PortRange | AnyTraffic, ...]]


class Guard(msgspec.Struct, frozen=True, cache_hash=True):
    """The rules of one pod in one direction.

    `isolated` names the NetworkPolicies behind it, `subject` the ClusterNetworkPolicies.
    """

    direction: Direction
    admin: tuple[_Entry, ...] = ()
    isolated: tuple[Cause, ...] = ()
    allowing: tuple[_Entry, ...] = ()
    baseline: tuple[_Entry, ...] = ()
    ports: frozenset[NamedPort] = frozenset()
    subject: tuple[Cause, ...] = ()

    @property
    def because(self) -> tuple[Cause, ...]:
        """The policies of this guard; none for a guard that allows everything."""
        return (*self.isolated, *self.subject)

    def looks_at(self) -> frozenset[Trait]:
        """The traits of identities that its rules use.

        Identities with equal traits get equal pieces.
        """
        telling = frozenset(entry.cause for entry in self._entries() if not entry.for_anyone)
        return telling | self.port_names() if self.direction == "egress" else telling

    def port_names(self) -> frozenset[str]:
        """The port names that its rules use."""
        ports = (port for entry in self._entries() for port in entry.ports)
        return frozenset(port.name for port in ports if isinstance(port, PortName))

    def _entries(self) -> tuple[_Entry, ...]:
        return (*self.admin, *self.allowing, *self.baseline)

    def itself(self, identity: Identity) -> tuple[Piece, ...]:
        """As `pieces`, for the pod's own packets that come back to it through a Service."""
        if not self.isolated:
            return self.pieces(identity)
        # "a pod cannot block access to itself": NetworkPolicy says this, for its own tier.
        own = tuple(_Entry(cause, "Accept", True, (AnyTraffic(),)) for cause in self.isolated)
        return msgspec.structs.replace(self, allowing=own).pieces(identity)

    def pieces(self, identity: Identity) -> tuple[Piece, ...]:
        """The decision for every port, in order, for peers of this identity."""
        # A port name is a name of the receiver's port: the pod's in ingress, the peer's in egress.
        names = self.ports if self.direction == "ingress" else identity.ports
        tiers = [
            [(e, tuple(_ranges(e, names))) for e in entries if _matches(e, identity)]
            for entries in (self.admin, self.allowing, self.baseline)
        ]
        found: list[Piece] = []
        for protocol in get_args(PortProtocol):
            for first, last in _segments(protocol, [r for tier in tiers for _, r in tier]):
                piece = Piece(protocol, first, last, *self._fate(tiers, protocol, first))
                before = found[-1] if found else None
                if before is not None and _alike(before, piece):
                    found[-1] = msgspec.structs.replace(before, last=last)
                else:
                    found.append(piece)
        return (*found, Piece(OTHER, 0, 0, *self._fate(tiers, OTHER, 0)))

    def _fate(
        self, tiers: list[list[_Ranged]], protocol: str, port: int
    ) -> tuple[bool, tuple[Cause, ...]]:
        """Whether traffic to this port is allowed, tier by tier, and why."""
        admin, allowing, baseline = ([e for e, r in t if _in(r, protocol, port)] for t in tiers)
        if admin and admin[0].action != "Pass":
            return admin[0].action == "Accept", (admin[0].cause,)
        if self.isolated:
            causes = tuple(sorted(entry.cause for entry in allowing))
            return bool(causes), causes or self.isolated
        if baseline and baseline[0].action != "Pass":
            return baseline[0].action == "Accept", (baseline[0].cause,)
        return True, ()


def guard_of(
    pod: Pod,
    namespace: Namespace | None,
    direction: Direction,
    network_policies: Iterable[NetworkPolicy],
    cluster_policies: Iterable[ClusterNetworkPolicy],
) -> Guard:
    """The guard of a pod that is not on the host network."""
    return guard_from(
        pod,
        direction,
        (policy for policy in network_policies if isolates(policy, pod)),
        (policy for policy in cluster_policies if selects(policy.subject, pod, namespace)),
    )


def guard_from(
    pod: Pod,
    direction: Direction,
    network_policies: Iterable[NetworkPolicy],
    cluster_policies: Iterable[ClusterNetworkPolicy],
) -> Guard:
    """The guard of a pod that these policies select; their order does not matter."""
    policies = sorted(
        (policy for policy in network_policies if direction in policy.isolates),
        key=lambda policy: policy.name,
    )
    ordered = sorted(cluster_policies, key=lambda policy: policy.precedence)
    speaking = [policy for policy in ordered if policy.rules(direction)]
    guard = Guard(
        direction,
        admin=tuple(_tier("Admin", speaking, direction)),
        isolated=tuple(Cause(policy.ref, "spec.podSelector") for policy in policies),
        allowing=tuple(
            _entry(Cause(policy.ref, rule.field), rule)
            for policy in policies
            for rule in policy.rules(direction)
        ),
        baseline=tuple(_tier("Baseline", speaking, direction)),
        subject=tuple(sorted(Cause(policy.ref, "spec.subject") for policy in speaking)),
    )
    if direction == "egress":
        return guard
    names = guard.port_names()
    return msgspec.structs.replace(
        guard, ports=frozenset(port for port in pod.ports if port.name in names)
    )


def isolates(policy: NetworkPolicy, pod: Pod) -> bool:
    """Whether a NetworkPolicy selects the pod."""
    return policy.namespace == pod.namespace and policy.pods.matches(pod.labels)


def selects(subject: Pods, pod: Pod, namespace: Namespace | None) -> bool:
    """Whether a pod is among the subjects of a ClusterNetworkPolicy."""
    if namespace is None:
        return False
    return subject.namespaces.matches(namespace.labels) and subject.pods.matches(pod.labels)


def _tier(
    tier: Tier, policies: Iterable[ClusterNetworkPolicy], direction: Direction
) -> Iterator[_Entry]:
    for policy in policies:
        if policy.tier == tier:
            for rule in policy.rules(direction):
                cause = Cause(policy.ref, rule.field)
                yield _Entry(cause, rule.action, Anyone() in rule.peers, rule.ports)


def _entry(cause: Cause, rule: Rule) -> _Entry:
    return _Entry(cause, "Accept", Anyone() in rule.peers, rule.ports)


def _matches(entry: _Entry, identity: Identity) -> bool:
    return entry.for_anyone or entry.cause in identity.rules


def _ranges(entry: _Entry, names: frozenset[NamedPort]) -> Iterator[PortRange | AnyTraffic]:
    """The rule's ports as numeric ranges."""
    for port in entry.ports:
        if not isinstance(port, PortName):
            yield port
            continue
        for name in names:
            if name.name == port.name and port.protocol in ("", name.protocol):
                yield PortRange(name.protocol, name.number, name.number)


def _in(ranges: tuple[PortRange | AnyTraffic, ...], protocol: str, port: int) -> bool:
    return any(
        isinstance(r, AnyTraffic) or (r.protocol == protocol and r.first <= port <= r.last)
        for r in ranges
    )


def _segments(
    protocol: str, ranges: Iterable[tuple[PortRange | AnyTraffic, ...]]
) -> Iterator[tuple[int, int]]:
    """The ports, cut where a range begins or ends: one decision holds for a whole segment."""
    cuts = {0, LAST_PORT + 1}
    for some in ranges:
        for r in some:
            if isinstance(r, PortRange) and r.protocol == protocol:
                cuts |= {r.first, r.last + 1}
    ordered = sorted(cuts)
    for first, beyond in pairwise(ordered):
        yield first, beyond - 1


def _alike(before: Piece, after: Piece) -> bool:
    return msgspec.structs.replace(after, first=before.first, last=before.last) == before

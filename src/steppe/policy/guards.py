"""Guards: what the policies of one pod allow a peer's identity, for all ports at once.

A guard contains the rules that apply to a pod in one direction, by tier. For an identity it returns
pieces: port ranges that are allowed or denied, each with the rules that decide it. Tables are made
of these pieces. Pods with the same policies have equal guards.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
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
from steppe.policy.sweep import Span, swept

_PROTOCOLS: tuple[PortProtocol, ...] = get_args(PortProtocol)


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
        tiers = _Tiers(
            *(
                [entry for entry in entries if _matches(entry, identity)]
                for entries in (self.admin, self.allowing, self.baseline)
            )
        )
        if not tiers.entries:  # as of most peers
            fate = self._fate(tiers, [])
            alike = [Piece(protocol, 0, LAST_PORT, *fate) for protocol in _PROTOCOLS]
            return (*alike, Piece(OTHER, 0, 0, *fate))
        ranges = [tuple(_ranges(entry, names)) for entry in tiers.entries]
        found: list[Piece] = []
        for protocol in _PROTOCOLS:
            for first, last, active in swept([_spans(some, protocol) for some in ranges]):
                piece = Piece(protocol, first, last, *self._fate(tiers, active))
                if found and _alike(found[-1], piece):
                    piece = msgspec.structs.replace(found.pop(), last=last)
                found.append(piece)
        others = [number for number, some in enumerate(ranges) if AnyTraffic() in some]
        return (*found, Piece(OTHER, 0, 0, *self._fate(tiers, others)))

    def _fate(self, tiers: "_Tiers", active: list[int]) -> tuple[bool, tuple[Cause, ...]]:
        """Whether traffic that these rules speak of is allowed, tier by tier, and why."""
        admin, allowing, baseline = tiers.parts(active)
        if admin and admin[0].action != "Pass":
            return admin[0].action == "Accept", (admin[0].cause,)
        if self.isolated:
            causes = tuple([entry.cause for entry in allowing])
            return bool(causes), causes or self.isolated
        if baseline and baseline[0].action != "Pass":
            return baseline[0].action == "Accept", (baseline[0].cause,)
        return True, ()


class _Tiers:
    """The rules that take a peer, numbered through all tiers in order."""

    def __init__(self, admin: list[_Entry], allowing: list[_Entry], baseline: list[_Entry]) -> None:
        self.entries = (*admin, *allowing, *baseline)
        self._cuts = (len(admin), len(admin) + len(allowing))

    def parts(self, numbers: list[int]) -> tuple[list[_Entry], list[_Entry], list[_Entry]]:
        """Rules by their numbers, which are in order: each tier's own."""
        first, second = bisect_left(numbers, self._cuts[0]), bisect_left(numbers, self._cuts[1])
        found = [self.entries[number] for number in numbers]
        return found[:first], found[first:second], found[second:]


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
            sorted(
                (
                    _entry(Cause(policy.ref, rule.field), rule)
                    for policy in policies
                    for rule in policy.rules(direction)
                ),
                key=_cause,
            )
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


def _spans(ranges: Iterable[PortRange | AnyTraffic], protocol: str) -> list[Span]:
    """The ports of one protocol among these."""
    return [
        (0, LAST_PORT) if isinstance(some, AnyTraffic) else (some.first, some.last)
        for some in ranges
        if isinstance(some, AnyTraffic) or some.protocol == protocol
    ]


def _cause(entry: _Entry) -> Cause:
    return entry.cause


def _alike(before: Piece, after: Piece) -> bool:
    return (before.protocol, before.allowed, before.because) == (
        after.protocol,
        after.allowed,
        after.because,
    )

"""Rules without effect, because another rule decides the same traffic.

Exact for the existing pods, namespaces and nodes: a rule covers another one if, for every pod to
which the other applies, it matches all peers that the other matches, on all of its ports. A rule
that only several rules cover together is not found.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.judge.classes import DIRECTIONS
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.objects import NamedPort
from steppe.kube.policies import AnyTraffic, Direction, Port, PortName
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding
from steppe.net.ports import EVERYTHING, NOTHING, PortRange, PortSet
from steppe.policy.guards import Guard
from steppe.reach.matrix import Mask, bits

Names = frozenset[NamedPort]


class _Rule(msgspec.Struct, frozen=True):
    """A rule of a guard, and the identities that it matches."""

    cause: Cause
    taken: Mask
    ports: tuple[Port, ...]


def covered_rules(facts: Facts) -> Iterator[Finding]:
    """Each rule that another one covers; of two equal rules, the later one."""
    for direction in DIRECTIONS:
        within = _Within(facts, direction)
        for cause, others in sorted(_covers(facts, direction, within, "allowing").items()):
            yield _finding(cause, others, "allows already all that it allows")
        for tier in ("admin", "baseline"):
            for cause, others in sorted(_covers(facts, direction, within, tier).items()):
                yield _finding(cause, others, "comes first and decides all that it would decide")


def _finding(cause: Cause, others: frozenset[Cause], what: str) -> Finding:
    other = min(others, key=lambda each: (each.ref != cause.ref, each))
    where = other.field if other.ref == cause.ref else str(other)
    message = f"changes nothing: {where} {what}, for the pods there are"
    return Finding(cause, "already-covered", message)


def _covers(
    facts: Facts, direction: Direction, within: "_Within", tier: str
) -> Mapping[Cause, frozenset[Cause]]:
    """The covered rules of a tier, each with the rules that cover it."""
    found: dict[Cause, frozenset[Cause]] = {}
    priorities = {p.ref: p.priority for p in facts.cluster.cluster_policies.values()}
    for guard in facts.reach.classes.guards[direction].values:
        rules = _rules(facts, direction, guard, tier)
        for index, rule in enumerate(rules):
            # "a rule that appears at the top … would take the highest precedence" (tiers), but
            # "order of evaluation does not affect the policy result" (NetworkPolicies).
            others = rules if tier == "allowing" else rules[:index]
            covering = frozenset(
                other.cause
                for other in others
                if other.cause != rule.cause
                and not _open_order(rule.cause, other.cause, priorities)
                and rule.taken
                and not rule.taken & ~other.taken
                and within.ports(rule, other, guard.ports)
            )
            found[rule.cause] = found.get(rule.cause, covering) & covering
    return {cause: kept for cause, some in found.items() if (kept := _first(cause, some, found))}


def _open_order(one: Cause, other: Cause, priorities: Mapping[ObjectRef, int]) -> bool:
    """Whether the API leaves open which of two rules comes first: "If two (or more) policies with
    the same priority could both match a connection, then the implementation can apply any of the
    matching policies" (AdminNetworkPolicySpec.priority).
    """
    if one.ref == other.ref or one.ref not in priorities:
        return False
    return priorities[one.ref] == priorities.get(other.ref)


def _first(
    cause: Cause, others: frozenset[Cause], found: Mapping[Cause, frozenset[Cause]]
) -> frozenset[Cause]:
    """The covering rules to report: of rules that cover each other, only earlier ones count."""
    return frozenset(other for other in others if cause not in found[other] or other < cause)


def _rules(facts: Facts, direction: Direction, guard: Guard, tier: str) -> tuple[_Rule, ...]:
    classes = facts.reach.classes
    everybody = (1 << len(classes.identities[direction].values)) - 1
    entries = {"allowing": guard.allowing, "admin": guard.admin, "baseline": guard.baseline}[tier]
    return tuple(
        _Rule(
            entry.cause,
            everybody if entry.for_anyone else facts.taking[direction].get(entry.cause, 0),
            entry.ports,
        )
        for entry in entries
    )


class _Within:
    """Tells whether all ports of one rule are among another's; port names are resolved by pod."""

    def __init__(self, facts: Facts, direction: Direction) -> None:
        self._direction = direction
        self._identities = facts.reach.classes.identities[direction].values
        self._sets: dict[tuple[tuple[Port, ...], Names], PortSet] = {}

    def ports(self, rule: _Rule, other: _Rule, own: Names) -> bool:
        named = any(isinstance(port, PortName) for port in (*rule.ports, *other.ports))
        possible = self._possible_names(rule.taken, own) if named else {frozenset[NamedPort]()}
        sets = [(self._set(rule.ports, n), self._set(other.ports, n)) for n in possible]
        # A rule without any port has a finding of its own, so it is not reported as covered.
        return any(mine for mine, _ in sets) and not any(mine - theirs for mine, theirs in sets)

    def _possible_names(self, taken: Mask, own: Names) -> set[Names]:
        """The sets of port names that may apply: the pod's own in ingress, its peers' in egress."""
        if self._direction == "ingress":
            return {own}
        return {self._identities[number].ports for number in bits(taken)}

    def _set(self, ports: tuple[Port, ...], names: Names) -> PortSet:
        key = (ports, names)
        if key not in self._sets:
            self._sets[key] = _port_set(ports, names)
        return self._sets[key]


def _port_set(ports: Iterable[Port], names: Names) -> PortSet:
    found = NOTHING
    for port in ports:
        match port:
            case AnyTraffic():
                return EVERYTHING
            case PortName():
                for own in names:
                    if own.name == port.name and port.protocol in ("", own.protocol):
                        found |= PortSet((PortRange(own.protocol, own.number, own.number),))
            case _:
                found |= PortSet((port,))
    return found

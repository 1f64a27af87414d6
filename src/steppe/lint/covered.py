"""Rules that change nothing, because another rule decides the same traffic already.

Exact for the pods, namespaces and nodes there are: one rule covers another where, for every pod
that the other guards, it takes all the peers that the other takes, on all of its ports. Traffic
that only several rules cover together is not found.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import NamedPort
from steppe.kube.policies import AnyTraffic, Direction, Port, PortName
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding
from steppe.net.ports import EVERYTHING, NOTHING, PortRange, PortSet
from steppe.policy.guards import Guard
from steppe.reach.matrix import Mask, bits
from steppe.reach.policy_classes import DIRECTIONS

Names = frozenset[NamedPort]


class _Rule(msgspec.Struct, frozen=True):
    """A rule of a guard, and the identities it takes."""

    cause: Cause
    taken: Mask
    ports: tuple[Port, ...]


def covered_rules(facts: Facts) -> Iterator[Finding]:
    """Each rule that another one makes idle; of two that are alike, the later one."""
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
    message = f"changes nothing: {where} {what}, for the pods there are; remove it"
    return Finding(cause, "already-covered", message)


def _covers(
    facts: Facts, direction: Direction, within: "_Within", tier: str
) -> Mapping[Cause, frozenset[Cause]]:
    """The idle rules of a tier, each with the rules that make it so."""
    found: dict[Cause, frozenset[Cause]] = {}
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
                and rule.taken
                and not rule.taken & ~other.taken
                and within.ports(rule, other, guard.ports)
            )
            found[rule.cause] = found.get(rule.cause, covering) & covering
    return {cause: kept for cause, some in found.items() if (kept := _first(cause, some, found))}


def _first(
    cause: Cause, others: frozenset[Cause], found: Mapping[Cause, frozenset[Cause]]
) -> frozenset[Cause]:
    """Those that stay when it goes: of rules that cover each other, the first one stays."""
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
    """Tells whether one rule's ports are all among another's, names by whom they belong to."""

    def __init__(self, facts: Facts, direction: Direction) -> None:
        self._direction = direction
        self._identities = facts.reach.classes.identities[direction].values
        self._sets: dict[tuple[tuple[Port, ...], Names], PortSet] = {}

    def ports(self, rule: _Rule, other: _Rule, own: Names) -> bool:
        named = any(isinstance(port, PortName) for port in (*rule.ports, *other.ports))
        possible = self._possible_names(rule.taken, own) if named else {frozenset[NamedPort]()}
        sets = [(self._set(rule.ports, n), self._set(other.ports, n)) for n in possible]
        # A rule with no ports at all is told as such, not as covered.
        return any(mine for mine, _ in sets) and not any(mine - theirs for mine, theirs in sets)

    def _possible_names(self, taken: Mask, own: Names) -> set[Names]:
        """What ports may be called: by the pod itself in ingress, by its peers in egress."""
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

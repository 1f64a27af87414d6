"""Exceptions that keep nobody out, because another entry takes those whom they except.

`NotIn`, `DoesNotExist` and `except` narrow their own entry. "Network policies do not conflict; they
are additive": a wider entry beside them, or in another policy of the same pods, lets everybody in.
"""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import Pod
from steppe.kube.policies import Anyone, AnyTraffic, Block, Direction, NetworkPolicy, Peer, Pods
from steppe.kube.policies import Rule as PolicyRule
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as, listed
from steppe.lint.peers import SIDES
from steppe.lint.trying import decision, rule_packet, with_rules
from steppe.net.address import holds

_NEGATIVE = ("NotIn", "DoesNotExist")


class _Entry(msgspec.Struct, frozen=True):
    """One peer, its policy and rule, and its number there."""

    policy: NetworkPolicy
    rule: PolicyRule
    index: int
    peer: Peer

    def field(self, side: str) -> str:
        anyone = isinstance(self.peer, Anyone)
        return self.rule.field if anyone else f"{self.rule.field}.{side}[{self.index}]"


def void_exceptions(facts: Facts) -> Iterator[Finding]:
    """Each entry with an exception that a wider entry takes back, of its own policy if one does."""
    for policy in facts.cluster.network_policies.values():
        for direction, side in SIDES:
            own = list(_entries(policy, direction))
            narrow = [entry for entry in own if is_negative(entry.peer)]
            others = _beside(facts, policy, direction) if narrow else []
            for entry in narrow:
                wider = [w for w in (*own, *others) if w != entry and _takes_back(facts, w, entry)]
                if wider:
                    message = _told(facts, direction, entry, wider[0])
                    cause = Cause(policy.ref, entry.field(side))
                    yield Finding(cause, "exception-void", message)


def _entries(policy: NetworkPolicy, direction: Direction) -> Iterator[_Entry]:
    for rule in policy.rules(direction):
        for index, peer in enumerate(rule.peers):
            yield _Entry(policy, rule, index, peer)


def _beside(facts: Facts, policy: NetworkPolicy, direction: Direction) -> list[_Entry]:
    """The entries of other policies that are for all pods of this one."""
    return [
        entry
        for other in facts.cluster.policies_in(policy.namespace)
        if other.ref != policy.ref and _fewer(other.pods, policy.pods)
        for entry in _entries(other, direction)
    ]


def is_negative(peer: Peer) -> bool:
    """Whether a peer names somebody whom it does not take."""
    if isinstance(peer, Block):
        return bool(peer.excepted)
    return isinstance(peer, Pods) and bool(_negative(peer))


def _negative(peer: Pods) -> str:
    """The requirements that except somebody, as text."""
    found = (*peer.namespaces.requirements, *peer.pods.requirements)
    return ", ".join(str(each) for each in found if each.operator in _NEGATIVE)


def _takes_back(facts: Facts, wider: _Entry, entry: _Entry) -> bool:
    """Whether `wider` takes, on all ports of `entry`, what that one excepts."""
    if wider.rule != entry.rule and not (
        set(entry.rule.ports) <= set(wider.rule.ports) or AnyTraffic() in wider.rule.ports
    ):
        return False
    match wider.peer, entry.peer:
        case Anyone(), _:
            return True
        case Block(prefix, excepted), Block(_, kept):
            out = [p for p in kept if p.version == prefix.version and holds(prefix, p)]
            return any(not any(holds(own, p) for own in excepted) for p in out)
        case Pods() as wide, Pods() as narrow:
            return _covers(facts, wide, narrow)
    return False


def _covers(facts: Facts, wide: Pods, narrow: Pods) -> bool:
    """Whether `wide` has fewer requirements, and so takes all that `narrow` takes, and more."""
    if wide.within and wide.within != narrow.within:
        return False
    if narrow.within and not wide.within:
        space = facts.cluster.namespaces.get(narrow.within)
        inside = space is not None and wide.namespaces.matches(space.labels)
    else:
        inside = _fewer(wide.namespaces, narrow.namespaces)
    lost = set(_all(narrow)) - set(_all(wide))
    return inside and _fewer(wide.pods, narrow.pods) and any(r.operator in _NEGATIVE for r in lost)


def _fewer(wide: Selector, narrow: Selector) -> bool:
    return set(wide.requirements) <= set(narrow.requirements)


def _all(peer: Pods) -> tuple[Requirement, ...]:
    return (*peer.namespaces.requirements, *peer.pods.requirements)


def _told(facts: Facts, direction: Direction, entry: _Entry, wider: _Entry) -> str:
    side = dict(SIDES)[direction]
    head = f"keeps nobody out with {_excepted(entry.peer)}: "
    if wider.policy.ref != entry.policy.ref:
        where = f"{known_as(wider.policy.ref)} {wider.field(side)}"
        return f"{head}{where} takes {_who(wider.peer)}, and what policies allow adds up"
    same = entry.rule.field == wider.rule.field
    where = f"{side}[{wider.index}]" if same else wider.field(side)
    text = f"{head}{where} takes {_who(wider.peer)}, and entries of a list are alternatives, not "
    return text + "conditions" + _cure(facts, wider.policy, direction, wider, where)


def _excepted(peer: Peer) -> str:
    if isinstance(peer, Block):
        return f"except {listed(map(str, peer.excepted))}"
    return f"({_negative(peer)})" if isinstance(peer, Pods) else ""


def _who(peer: Peer) -> str:
    match peer:
        case Pods(namespaces, pods, "") if namespaces == EVERYTHING == pods:
            return "every pod"
        case Pods(_, pods, within):
            space = f"of {within}" if within else "there"
            return f"every pod {space}" if pods == EVERYTHING else f"every pod with {pods}"
        case Block(prefix):
            return f"all of {prefix}"
        case _:
            return "everybody"


def _cure(
    facts: Facts, policy: NetworkPolicy, direction: Direction, wider: _Entry, where: str
) -> str:
    """`without … they stay out`, if a pod shows it; "" if none does."""
    own = next(iter(facts.selected(Pods(pods=policy.pods, within=policy.namespace))), None)
    if own is None or not isinstance(wider.peer, Pods):
        return ""
    rules = tuple(_without(policy.rules(direction), wider))
    edit = with_rules(policy, direction, rules)
    for pod in facts.selected(wider.peer):
        if pod.host_network or pod.ref == own.ref or _is_taken(facts, rules, pod):
            continue
        packet = rule_packet(wider.rule, own, pod, direction)
        if packet and decision(facts.cluster, packet, direction, edit).said == "no":
            return f"; without {where}, {pod.namespace}/{pod.name} for one stays out"
    return ""


def _is_taken(facts: Facts, rules: tuple[PolicyRule, ...], pod: Pod) -> bool:
    peers = (peer for rule in rules for peer in rule.peers if isinstance(peer, Pods))
    return any(pod in facts.selected(peer) for peer in peers)


def _without(rules: tuple[PolicyRule, ...], wider: _Entry) -> Iterator[PolicyRule]:
    for rule in rules:
        if rule.field != wider.rule.field:
            yield rule
            continue
        peers = (*rule.peers[: wider.index], *rule.peers[wider.index + 1 :])
        if peers:  # an empty list would take everybody
            yield msgspec.structs.replace(rule, peers=peers)

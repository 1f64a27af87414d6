"""Peers that match nobody, and why: the selector is wrong, or stands in the wrong place.

One unmatched peer gets one finding, the one that fits best. Prefixes are not looked at here: their
addresses may be outside (blocks.py).
"""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction, NetworkPolicy, Nodes, Peer, Pods, Rule
from steppe.kube.selectors import EVERYTHING, Selector, labels_are
from steppe.lint.facts import Facts, written_rules
from steppe.lint.finding import Finding, listed, named
from steppe.lint.subjects import as_text, policies_of, subject_of
from steppe.lint.trying import decision, rule_packet, with_rules

NAMESPACE_NAME = "kubernetes.io/metadata.name"
SIDES: tuple[tuple[Direction, str], ...] = (("ingress", "from"), ("egress", "to"))


class _Peer(msgspec.Struct, frozen=True):
    """A peer, where it stands, and a pod that its policy is for."""

    policy: NetworkPolicy | ClusterNetworkPolicy
    direction: Direction
    rule: Rule | ClusterRule
    index: int
    own: Pod


class _Place(msgspec.Struct, frozen=True):
    """A peer of a NetworkPolicy that selects pods."""

    policy: NetworkPolicy
    direction: Direction
    rule: Rule
    peer: Pods
    own: Pod


def unmatched_peers(facts: Facts) -> Iterator[Finding]:
    """Peers of policies in effect that match no pod and no node."""
    for policy in policies_of(facts):
        pods = [pod for pod in facts.selected(subject_of(policy)[0]) if not pod.host_network]
        if not pods:
            continue
        for direction, side in SIDES:
            for rule in policy.rules(direction):
                for index in range(len(rule.peers)):
                    found = _of_peer(facts, _Peer(policy, direction, rule, index, pods[0]))
                    if found:
                        field = f"{rule.field}.{side}" + _number(facts, policy, rule, index)
                        yield Finding(Cause(policy.ref, field), *found)


def _number(
    facts: Facts, policy: NetworkPolicy | ClusterNetworkPolicy, rule: Rule | ClusterRule, index: int
) -> str:
    """The peer's number in brackets; "" where peers that were not understood are left out."""
    written = facts.written(policy) if isinstance(policy, NetworkPolicy) else None
    if written is None:
        return ""
    counts = {
        f"{field}[{number}]": len(each.peers or ())
        for field, rules in written_rules(written)
        for number, each in enumerate(rules)
    }
    return f"[{index}]" if counts.get(rule.field) == len(rule.peers) else ""


def _of_peer(facts: Facts, place: _Peer) -> tuple[str, str] | None:
    """The check and the sentence for a peer that matches nobody; None for one that does."""
    policy, rule = place.policy, place.rule
    peer: Peer = rule.peers[place.index]
    if isinstance(peer, Nodes):
        known = facts.cluster.nodes.values()
        if facts.live and not any(peer.nodes.matches(node.labels) for node in known):
            return "matches-nobody", f"matches no node ({peer.nodes}); correct the selector"
        return None
    if not isinstance(peer, Pods):
        return None
    pods = facts.selected(peer)
    if pods:
        return _on_host(peer, pods)
    if isinstance(policy, NetworkPolicy) and isinstance(rule, Rule):
        inner = _Place(policy, place.direction, rule, peer, place.own)
        return _within(facts, inner) if peer.within else _beyond(facts, inner)
    return _nobody(facts, peer)


def _on_host(peer: Pods, pods: tuple[Pod, ...]) -> tuple[str, str] | None:
    hosted = sorted(named(pod.ref) for pod in pods if pod.host_network)
    if not hosted or (len(hosted) < len(pods) and not peer.pods.requirements):
        return None  # "every pod" hardly means those in particular
    who = "only pods" if len(hosted) == len(pods) else "also pods"
    return "host-network-peer", (
        f"matches {who} on their host's network ({listed(hosted)}), which are no peers: they send "
        "and receive with their node's address; an ipBlock of the nodes' addresses takes those"
    )


def _within(facts: Facts, place: _Place) -> tuple[str, str] | None:
    """Why a podSelector alone finds no pod in the policy's own namespace."""
    peer, space = place.peer, place.policy.namespace
    if not peer.pods.requirements:
        return None
    if not facts.is_whole(space):
        return None
    if found := _is_of_namespace(facts, place):
        return found
    if found := _and_as_or(facts, place):
        return found
    spaces = _spaces_with(facts, Pods(pods=peer.pods))
    if spaces:
        label = f"namespaceSelector {{matchLabels: {{{NAMESPACE_NAME}: {spaces[0]}}}}}"
        meant = Pods(labels_are({NAMESPACE_NAME: spaces[0]}), peer.pods)
        return "peer-elsewhere", (
            f"matches no pod: a podSelector alone looks in the policy's own namespace, {space}, and"
            f" pods with {peer.pods} are in {listed(spaces)}"
            + (f"; add {label} to this entry" if _takes(facts, place, (meant,)) else "")
        )
    return _nobody(facts, peer)


def _is_of_namespace(facts: Facts, place: _Place) -> tuple[str, str] | None:
    """A podSelector with labels that only namespaces have."""
    peer = place.peer
    by_name = any(each.key == NAMESPACE_NAME for each in peer.pods.requirements)
    if not peer.pods.requirements:
        return None
    spaces = [space.name for space in facts.spaces(peer.pods)]
    if _spaces_with(facts, Pods(pods=peer.pods)) or not (spaces or by_name):
        return None
    whose = f"namespace {listed(spaces)}" if spaces else "namespaces"
    meant = Pods(_both(peer.namespaces, peer.pods))
    return "label-of-namespace", (
        f"matches no pod: {peer.pods} is a label of {whose}, and podSelector looks at the labels "
        "of pods" + ("; write it under namespaceSelector" if _takes(facts, place, (meant,)) else "")
    )


def _both(one: Selector, other: Selector) -> Selector:
    """The selector that asks for what both ask for."""
    return Selector((*one.requirements, *other.requirements))


def _and_as_or(facts: Facts, place: _Place) -> tuple[str, str] | None:
    """Two entries, "any pod of these namespaces" or "these pods here", that were meant as one."""
    for number, other in enumerate(place.rule.peers):
        if not isinstance(other, Pods) or other.within or other.pods != EVERYTHING:
            continue
        spaces = _spaces_with(facts, Pods(other.namespaces, place.peer.pods))
        if not spaces or other.namespaces == EVERYTHING:
            continue
        one = Pods(other.namespaces, place.peer.pods)
        side = dict(SIDES)[place.direction]
        return "and-as-or", (
            f"{place.peer.pods} matches no pod of namespace {place.policy.namespace}, but pods of "
            f"namespace {listed(spaces)}, which {side}[{number}] takes whole: entries of a list are"
            " alternatives"
            + ("; write both selectors in one entry" if _takes(facts, place, (one,)) else "")
        )
    return None


def _beyond(facts: Facts, place: _Place) -> tuple[str, str] | None:
    """Why a peer with a namespaceSelector finds no pod."""
    peer, space = place.peer, place.policy.namespace
    spaces = facts.spaces(peer.namespaces)
    if not spaces:
        return _no_namespace(facts, place)
    if not peer.pods.requirements or not all(facts.is_whole(each.name) for each in spaces):
        return None
    here = Pods(pods=peer.pods, within=space)
    if _spaces_with(facts, here):
        either = (Pods(peer.namespaces), here)
        return "or-as-and", (
            f"matches no pod: no pod of namespace {listed(s.name for s in spaces)} has {peer.pods},"
            f" but pods of {space} have; selectors of one entry must both match"
            + ("; write two entries" if _takes(facts, place, either) else "")
        )
    return _is_of_namespace(facts, place) or _nobody(facts, peer)


def _no_namespace(facts: Facts, place: _Place) -> tuple[str, str]:
    peer = place.peer
    holders = _spaces_with(facts, Pods(pods=peer.namespaces))
    if holders:
        known = "" if facts.live else " that is known here"
        return "label-of-pods", (
            f"matches no namespace{known}: {peer.namespaces} is a label of pods (in "
            f"{listed(holders)}), and namespaceSelector looks at the labels of namespaces"
            + _under_pods(facts, place, holders)
        )
    if facts.live:
        return "matches-nobody", f"matches no namespace ({peer.namespaces}); correct it"
    return "namespace-not-here", (
        f"matches no namespace that is known here ({peer.namespaces}): if it is not in other "
        "manifests, correct the selector"
    )


def _under_pods(facts: Facts, place: _Place, holders: list[str]) -> str:
    """The change that takes the pods which have the labels, where one does; "" for none."""
    pods = _both(place.peer.namespaces, place.peer.pods)
    text = "; write it under podSelector"
    if _takes(facts, place, (Pods(pods=pods, within=place.policy.namespace),)):
        return text
    meant = Pods(labels_are({NAMESPACE_NAME: holders[0]}), pods)
    if _takes(facts, place, (meant,)):
        return f"{text}, with namespaceSelector {{matchLabels: {{{NAMESPACE_NAME}: {holders[0]}}}}}"
    return ""


def _nobody(facts: Facts, peer: Pods) -> tuple[str, str] | None:
    names = [peer.within] if peer.within else [s.name for s in facts.spaces(peer.namespaces)]
    if not peer.pods.requirements or not all(map(facts.is_whole, names)):
        return None
    return "matches-nobody", f"matches no pod ({as_text(peer)}); correct the selector"


def _spaces_with(facts: Facts, pods: Pods) -> list[str]:
    """The namespaces of the pods that these selectors find."""
    return sorted({pod.namespace for pod in facts.selected(pods) if not pod.host_network})


def _takes(facts: Facts, place: _Place, meant: tuple[Pods, ...]) -> bool:
    """Whether the rule takes the pods that were meant, once these stand in place of its peers."""
    pods = [pod for each in meant for pod in facts.selected(each) if not pod.host_network]
    others = [pod for pod in pods if pod.ref != place.own.ref and pod.addresses]
    if not others:
        return False
    packet = rule_packet(place.rule, place.own, others[-1], place.direction)
    changed = tuple(
        msgspec.structs.replace(rule, peers=meant) if rule.field == place.rule.field else rule
        for rule in place.policy.rules(place.direction)
    )
    edit = with_rules(place.policy, place.direction, changed)
    if packet is None:
        return False
    return decision(facts.cluster, packet, place.direction, edit).said == "yes"

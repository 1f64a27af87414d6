"""The smallest changes that would open a flow, each tried on the spec before it is named.

Candidates are edits of one object that could let one pair through: a peer more in a rule, a port
more, a label on the peer, a rule more. Where both ends say no, or endpoints have different
policies, one edit for each is tried together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice, product

import msgspec

from steppe.explain.course import Courses
from steppe.explain.index import Index
from steppe.explain.model import Case, Change, Flow
from steppe.explain.say import listed, named, why
from steppe.explain.target import RangeTarget
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import (
    AnyTraffic,
    Block,
    Direction,
    NetworkPolicy,
    Peer,
    Pods,
    Port,
    PortRange,
    Rule,
)
from steppe.kube.selectors import Requirement, Selector
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.net.packet import Packet
from steppe.spec.policy import Decision
from steppe.spec.policy_match import World, is_peer, is_port, world_of

SHOWN = 3
_TRIED = 24
_NAME_LABELS = ("app.kubernetes.io/name", "app", "k8s-app", "name", "component", "role")
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class _Asked(msgspec.Struct, frozen=True):
    """A flow that is closed, its packets, and the part of the cluster that they meet."""

    flow: Flow
    part: Cluster
    cases: tuple[Case, ...]


class _Edit(msgspec.Struct, frozen=True):
    """A change that could help, as words and as what it makes of a cluster."""

    text: str
    object: Cause
    apply: Callable[[Cluster], Cluster]


class _Closed(msgspec.Struct, frozen=True):
    """One end that says no to one peer."""

    direction: Direction
    pod: Pod
    packet: Packet
    decision: Decision

    @property
    def peer(self) -> IPAddress:
        return self.packet.source if self.direction == "ingress" else self.packet.destination


def changes_for(
    index: Index, flow: Flow, part: Cluster, cases: Sequence[Case]
) -> tuple[Change, ...]:
    """A few changes that open the whole flow, those first that change least."""
    asked = _Asked(flow, part, tuple(cases))
    # The first closed pair of a group speaks for all of it; trying says whether it may.
    options = [tuple(_edits(index, asked, closed)) for closed in _groups(asked)]
    if not options:
        return ()
    alone = [
        (edit,)
        for edit in options[0]
        if all(edit.text in {other.text for other in edits} for edits in options)
    ]
    together = islice(product(*options), _TRIED) if len(options) > 1 else ()
    found = (edits for edits in (*alone, *together) if _opens(asked, edits))
    return tuple(_change(edits) for edits in islice(found, SHOWN))


def _change(edits: tuple[_Edit, ...]) -> Change:
    text = "; and ".join(edit.text for edit in edits)
    return Change(text, tuple(edit.object for edit in edits))


def _opens(asked: _Asked, edits: Iterable[_Edit]) -> bool:
    part = reduce(lambda cluster, edit: edit.apply(cluster), edits, asked.part)
    courses = Courses(part)
    return all(
        course.fate == "delivered"
        for case in asked.cases
        for course in courses.of(case.packet, case.entering)
    )


def _groups(asked: _Asked) -> tuple[_Closed, ...]:
    """One pair for all that the same objects say no to; none if anything else fails as well."""
    found: dict[object, _Closed] = {}
    pods = {a: pod for pod in asked.part.pods.values() for a in pod.addresses}
    for path in (path for case in asked.cases for path in case.paths):
        if path.fate in ("refused", "dropped"):
            return ()
        for direction, decision in (("egress", path.egress), ("ingress", path.ingress)):
            own = path.sent.source if direction == "egress" else path.received.destination
            if decision.allowed or own not in pods:
                continue
            packet = path.received
            if direction == "egress":
                packet = msgspec.structs.replace(packet, source=path.sent.source)
            closed = _Closed(direction, pods[own], packet, decision)  # type: ignore[arg-type]
            found.setdefault((direction, decision.by, decision.because), closed)
    return tuple(found.values())


def _edits(index: Index, asked: _Asked, closed: _Closed) -> Iterator[_Edit]:
    cluster = index.cluster
    if closed.decision.by != "NetworkPolicy":
        yield from _before_tier_rule(cluster, asked, closed)
        return
    refs = {cause.ref for cause in closed.decision.because}
    policies = [p for p in index.policies_on(closed.pod) if p.ref in refs]
    peer = _peer_for(asked, closed, cluster)
    world = world_of(
        asked.part.pods.values(), asked.part.namespaces.values(), asked.part.nodes.values()
    )
    if peer is not None:
        yield from _in_rules(world, policies, closed, *peer)
    yield from _labels(index, world, policies, closed)
    if peer is not None:
        yield from _rules_more(policies, closed, *peer)


def _in_rules(
    world: World, policies: Iterable[NetworkPolicy], closed: _Closed, peer: tuple[Peer, ...],
    peer_text: str,
) -> Iterator[_Edit]:  # fmt: skip
    """A peer more in a rule that has the port, a port more in one that has the peer."""
    side = "from" if closed.direction == "ingress" else "to"
    for policy in policies:
        for number, rule in enumerate(policy.rules(closed.direction)):
            cause = Cause(policy.ref, rule.field)
            if any(is_port(world, port, closed.packet) for port in rule.ports):
                wider = msgspec.structs.replace(rule, peers=(*rule.peers, *peer))
                text = f"add to {named(policy.ref)} {rule.field}.{side}: {peer_text}"
            elif any(is_peer(world, some, closed.peer) for some in rule.peers):
                ports = (*rule.ports, _port_of(closed.packet))
                wider = msgspec.structs.replace(rule, ports=ports)
                text = f"add to {named(policy.ref)} {rule.field}.ports: {_port_text(closed.packet)}"
            else:
                continue
            if closed.packet.protocol == "ICMP" and AnyTraffic() not in wider.ports:
                continue  # no port lets ICMP through
            rules = list(policy.rules(closed.direction))
            rules[number] = wider
            yield _Edit(text, cause, _with_rules(policy, closed.direction, rules))


def _rules_more(
    policies: Iterable[NetworkPolicy], closed: _Closed, peer: tuple[Peer, ...], peer_text: str
) -> Iterator[_Edit]:
    for policy in islice(policies, 1):
        field = f"spec.{closed.direction}"
        rule = Rule(f"{field}[new]", peer, (_port_of(closed.packet),))
        side = "from" if closed.direction == "ingress" else "to"
        on = "" if closed.packet.protocol == "ICMP" else f", on {_port_text(closed.packet)}"
        text = f"add a rule to {named(policy.ref)} {field}: {side} {peer_text}{on}"
        rules = [*policy.rules(closed.direction), rule]
        yield _Edit(text, Cause(policy.ref, field), _with_rules(policy, closed.direction, rules))


def _with_rules(
    policy: NetworkPolicy, direction: Direction, rules: Sequence[Rule]
) -> Callable[[Cluster], Cluster]:
    def apply(cluster: Cluster) -> Cluster:
        name = (policy.namespace, policy.name)
        now = cluster.network_policies.get(name)
        if now is None:  # it selects nobody in this part
            return cluster
        changed = msgspec.structs.replace(now, **{direction: tuple(rules)})
        policies = {**cluster.network_policies, name: changed}
        return msgspec.structs.replace(cluster, network_policies=policies)

    return apply


def _labels(
    index: Index, world: World, policies: Iterable[NetworkPolicy], closed: _Closed
) -> Iterator[_Edit]:
    """One label more on the peer, where that is all a rule asks for beyond what it has."""
    pod = world.pods.get(closed.peer)
    if pod is None:
        return
    wanted: dict[tuple[str, str], None] = {}
    for policy in policies:
        for rule in policy.rules(closed.direction):
            if any(is_port(world, port, closed.packet) for port in rule.ports):
                for peer in rule.peers:
                    label = _missing(peer, pod)
                    if label is not None:
                        wanted[label] = None
    for key, value in wanted:
        text = f"label {pod.namespace}/{pod.name} {key}={value} (in its workload's template)"
        yield _Edit(text, Cause(pod.ref, "metadata.labels"), _labelled(index, pod, key, value))


def _missing(peer: Peer, pod: Pod) -> tuple[str, str] | None:
    """The one label that the pod lacks to be taken; one that it has is not for us to change."""
    if not isinstance(peer, Pods):
        return None
    open_ = [each for each in peer.pods.requirements if not each.takes(pod.labels)]
    if len(open_) != 1 or open_[0].key in pod.labels:
        return None
    (only,) = open_
    match only.operator:
        case "In":
            return only.key, min(only.values)
        case "Exists":
            return only.key, "true"
        case _:
            return None


def _labelled(index: Index, pod: Pod, key: str, value: str) -> Callable[[Cluster], Cluster]:
    def apply(cluster: Cluster) -> Cluster:
        name = (pod.namespace, pod.name)
        if name not in cluster.pods:
            return cluster
        changed = msgspec.structs.replace(pod, labels={**pod.labels, key: value})
        # Policies that did not select the pod may do so now.
        found = {(p.namespace, p.name): p for p in index.policies_in(pod.namespace)}
        return msgspec.structs.replace(
            cluster,
            pods={**cluster.pods, name: changed},
            network_policies={**found, **cluster.network_policies},
        )

    return apply


def _before_tier_rule(cluster: Cluster, asked: _Asked, closed: _Closed) -> Iterator[_Edit]:
    """An Accept rule in front of the rule that denies."""
    peer = _peer_for(asked, closed, cluster)
    (cause,) = closed.decision.because
    policy = cluster.cluster_policies.get(cause.ref.name)
    if peer is None or policy is None:
        return
    peers, text = peer
    rules = list(policy.rules(closed.direction))
    at = next(number for number, rule in enumerate(rules) if rule.field == cause.field)
    field = f"spec.{closed.direction}"
    ports: tuple[Port, ...] = (_port_of(closed.packet),)
    rules.insert(at, ClusterRule(f"{field}[new]", "", "Accept", peers, ports))
    side = "from" if closed.direction == "ingress" else "to"
    on = _port_text(closed.packet)
    words = f"put an Accept rule before {why(cause)}: {side} {text}, on {on}"
    yield _Edit(words, Cause(policy.ref, field), _with_tier_rules(policy, closed.direction, rules))


def _with_tier_rules(
    policy: ClusterNetworkPolicy, direction: Direction, rules: Sequence[ClusterRule]
) -> Callable[[Cluster], Cluster]:
    def apply(cluster: Cluster) -> Cluster:
        now = cluster.cluster_policies[policy.name]
        changed = msgspec.structs.replace(now, **{direction: tuple(rules)})
        policies = {**cluster.cluster_policies, policy.name: changed}
        return msgspec.structs.replace(cluster, cluster_policies=policies)

    return apply


def _port_of(packet: Packet) -> Port:
    if packet.protocol == "ICMP":
        return AnyTraffic()
    return PortRange(packet.protocol, packet.destination_port, packet.destination_port)


def _port_text(packet: Packet) -> str:
    if packet.protocol == "ICMP":
        return "all traffic"
    return f"{packet.protocol} {packet.destination_port}"


def _peer_for(
    asked: _Asked, closed: _Closed, cluster: Cluster
) -> tuple[tuple[Peer, ...], str] | None:
    """The peer as a rule would name it: a pod by its labels, everyone else by address."""
    pod = next((p for p in asked.part.pods.values() if closed.peer in p.addresses), None)
    if pod is not None:
        return _pod_peer(pod, closed.pod, cluster)
    flow = asked.flow
    end = flow.source if closed.direction == "ingress" else flow.destination
    prefixes: dict[IPNetwork, None] = {}
    if isinstance(end, RangeTarget):
        prefixes = dict.fromkeys(end.prefixes)
    else:
        for path in (path for case in asked.cases for path in case.paths):
            packet = path.received
            side = packet.source if closed.direction == "ingress" else packet.destination
            prefixes[host_prefix(side)] = None
    return tuple(Block(prefix) for prefix in prefixes), f"ipBlock {listed(map(str, prefixes))}"


def _pod_peer(pod: Pod, other: Pod, cluster: Cluster) -> tuple[tuple[Peer, ...], str] | None:
    label = next((key for key in (*_NAME_LABELS, *sorted(pod.labels)) if key in pod.labels), None)
    pods = _labels_are({label: pod.labels[label]} if label else {})
    text = f"podSelector {label}={pod.labels[label]}" if label else "podSelector {} (all pods)"
    if pod.namespace == other.namespace:
        return (Pods(pods=pods, within=pod.namespace),), text
    namespace = cluster.namespaces.get(pod.namespace)
    if namespace is None:
        return None  # no namespace selector takes it (spec/policy_match.py)
    labels = namespace.labels
    if not labels:
        return (Pods(pods=pods),), f"namespaceSelector {{}} (all namespaces) with {text}"
    known = _NAMESPACE_LABEL if _NAMESPACE_LABEL in labels else min(labels)
    both = f"namespaceSelector {known}={labels[known]} with {text}"
    return (Pods(namespaces=_labels_are({known: labels[known]}), pods=pods),), both


def _labels_are(labels: Mapping[str, str]) -> Selector:
    return Selector(
        tuple(Requirement(key, "In", frozenset((value,))) for key, value in labels.items())
    )

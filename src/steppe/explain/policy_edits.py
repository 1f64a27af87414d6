"""Edits of NetworkPolicies that isolate a pod: add a peer, a port, a rule or a policy.

Policies for all pods of a namespace are edited only if there is no other way: what one pod needs
does not belong there.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from steppe.ends.workloads import workload_labels, workload_name
from steppe.explain.edit import Breadth, DeniedEnd, Edit, pointer, port_json
from steppe.explain.model import Patch
from steppe.explain.new_peer import (
    Json,
    NewPeer,
    object_name,
)
from steppe.explain.sentences import object_text, traffic
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.policies import (
    Anyone,
    Block,
    Direction,
    NetworkPolicy,
    Peer,
    Pods,
    Port,
    PortName,
    Rule,
)
from steppe.kube.selectors import EVERYTHING, labels_are
from steppe.net.ports import PortRange
from steppe.oracle.policy_match import World, is_peer, is_port


def policy_edits(
    cluster: Cluster, world: World, denied: DeniedEnd, new_peer: NewPeer
) -> Iterator[Edit]:
    """Edits that allow the peer: wider rules, and a new rule if the wider ones would allow more."""
    policies = isolating(cluster, denied)
    wider = list(_wider_rules(world, policies, denied, new_peer))
    yield from wider
    if not any(edit.breadth is Breadth.ASKED for edit in wider):
        yield from _rule_more(cluster, policies, denied, new_peer)


def isolating(cluster: Cluster, denied: DeniedEnd) -> list[NetworkPolicy]:
    """The policies that isolate the pod."""
    refs = {cause.ref for cause in denied.decision.because}
    return [policy for policy in cluster.policies_on(denied.pod) if policy.ref in refs]


def _wider_rules(
    world: World, policies: Iterable[NetworkPolicy], denied: DeniedEnd, new_peer: NewPeer
) -> Iterator[Edit]:
    """Adds the peer to a rule that has the port, or the port to a rule that has the peer."""
    for policy in policies:
        for number, rule in enumerate(policy.rules(denied.direction)):
            if any(is_port(world, port, denied.packet) for port in rule.ports):
                breadth = Breadth.ASKED if _is_one(rule.ports) else Breadth.RULE
                field, text, added = denied.side, new_peer.text, new_peer.as_json()
                wider = msgspec.structs.replace(rule, peers=(*rule.peers, *new_peer.peers))
            elif any(is_peer(world, some, denied.peer) for some in rule.peers):
                if denied.packet.protocol == "ICMP":
                    continue  # a rule that lists ports cannot allow ICMP too
                breadth = _breadth_of(rule.peers, new_peer)
                field, text, added = "ports", traffic(denied.packet), [port_json(denied.packet)]
                wider = msgspec.structs.replace(rule, ports=(*rule.ports, denied.port))
            else:
                continue
            path = f"{pointer(rule.field)}/{field}/-"
            yield Edit(
                f"add to {object_text(policy.ref)} {rule.field}.{field}: {text}",
                Cause(policy.ref, rule.field),
                tuple(Patch(policy.ref, path, each) for each in added),
                breadth if _for_its_own(policy) else Breadth.WIDE,
                _with_rule(policy, denied.direction, wider, number),
            )


def _is_one(ports: tuple[Port, ...]) -> bool:
    """Whether a rule is for a single port."""
    (first, *more) = ports
    return not more and (
        isinstance(first, PortName) or (isinstance(first, PortRange) and first.first == first.last)
    )


def _breadth_of(peers: tuple[Peer, ...], new_peer: NewPeer) -> Breadth:
    """How much another port allows: it is open to every peer of the rule."""
    if peers == new_peer.peers:
        return Breadth.ASKED
    anyone = any(
        isinstance(peer, Anyone)
        or (isinstance(peer, Pods) and peer.pods == EVERYTHING)
        or (isinstance(peer, Block) and peer.prefix.prefixlen == 0)
        for peer in peers
    )
    return Breadth.WIDE if anyone else Breadth.RULE


def _for_its_own(policy: NetworkPolicy) -> bool:
    """Whether the policy selects only some pods of its namespace."""
    return policy.pods != EVERYTHING


def _rule_more(
    cluster: Cluster, policies: list[NetworkPolicy], denied: DeniedEnd, new_peer: NewPeer
) -> Iterator[Edit]:
    """Adds a rule for exactly this to the pod's own policy; to a new policy if it has none."""
    rule = Rule(f"{denied.field}[new]", new_peer.peers, (denied.port,))
    written: Json = {denied.side: new_peer.as_json()}
    if denied.packet.protocol != "ICMP":
        written["ports"] = [port_json(denied.packet)]
    own = [policy for policy in policies if _for_its_own(policy)]
    if not own and workload_labels(denied.pod):
        yield _policy_more(cluster, denied, new_peer, rule, written)
        return
    for policy in islice(own or policies, 1):
        some = policy.rules(denied.direction)
        path = pointer(denied.field)
        yield Edit(
            f"add a rule to {object_text(policy.ref)} {denied.field}: "
            f"{denied.side} {new_peer.text}{denied.on}",
            Cause(policy.ref, denied.field),
            (Patch(policy.ref, f"{path}/-" if some else path, written if some else [written]),),
            Breadth.ASKED if own else Breadth.WIDE,
            _with_rule(policy, denied.direction, rule),
        )


def _policy_more(
    cluster: Cluster, denied: DeniedEnd, new_peer: NewPeer, rule: Rule, written: Json
) -> Edit:
    """Adds a policy for the pod's workload.

    The pod is isolated already, so this isolates no more.
    """
    pod, labels = denied.pod, workload_labels(denied.pod)
    selector, direction = labels_are(labels), denied.direction
    way = "from" if direction == "ingress" else "to"
    policy = NetworkPolicy(
        pod.namespace,
        _unused(
            cluster, pod.namespace, object_name("allow", workload_name(pod), way, new_peer.name)
        ),
        selector,
        frozenset((direction,)),
        **{direction: (rule,)},
    )
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": [direction.capitalize()],
            direction: [written],
        },
    }

    def apply(cluster: Cluster) -> Cluster:
        policies = {**cluster.network_policies, (policy.namespace, policy.name): policy}
        return msgspec.structs.replace(cluster, network_policies=policies)

    text = (
        f"create {object_text(policy.ref)} for pods with {selector}: "
        f"{direction} {way} {new_peer.text}{denied.on}"
    )
    return Edit(text, Cause(policy.ref), (Patch(policy.ref, "", document),), Breadth.ASKED, apply)


def _unused(cluster: Cluster, namespace: str, name: str) -> str:
    """The name, with the first number appended that makes it unused if it is in use."""
    taken = {policy.name for policy in cluster.policies_in(namespace)}
    numbers = range(2, len(taken) + 3)
    return next(each for each in (name, *(f"{name}-{n}" for n in numbers)) if each not in taken)


def _with_rule(
    policy: NetworkPolicy, direction: Direction, rule: Rule, number: int | None = None
) -> Callable[[Cluster], Cluster]:
    """The part with one rule of a policy replaced, or one added."""

    def apply(cluster: Cluster) -> Cluster:
        name = (policy.namespace, policy.name)
        now = cluster.network_policies.get(name)
        if now is None:  # it selects no pod of this part
            return cluster
        rules = now.rules(direction)
        at = len(rules) if number is None else number
        replaced = (*rules[:at], rule, *rules[at + 1 :])
        changed = msgspec.structs.replace(now, **{direction: replaced})
        policies = {**cluster.network_policies, name: changed}
        return msgspec.structs.replace(cluster, network_policies=policies)

    return apply

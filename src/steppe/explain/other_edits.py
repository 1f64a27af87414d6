"""Edits of other objects than NetworkPolicies: labels of the peer, ClusterNetworkPolicies."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from steppe.explain.edit import Breadth, DeniedEnd, Edit, escaped, pointer
from steppe.explain.model import Patch
from steppe.explain.new_peer import Json, NewPeer
from steppe.explain.policy_edits import isolating
from steppe.explain.sentences import cause_text
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import Block, NetworkPolicy, Peer, Pods
from steppe.kube.selectors import EVERYTHING
from steppe.oracle.policy_match import World, is_port


def label_edits(cluster: Cluster, world: World, denied: DeniedEnd) -> Iterator[Edit]:
    """Adds a label to the peer, if this is all that it lacks for a rule to match it."""
    pod = world.pods.get(denied.peer)
    if pod is None:
        return
    wanted: dict[tuple[str, str], None] = {}
    for policy in isolating(cluster, denied):
        for rule in policy.rules(denied.direction):
            if any(is_port(world, port, denied.packet) for port in rule.ports):
                for peer in rule.peers:
                    label = _missing(peer, pod)
                    if label is not None:
                        wanted[label] = None
    for key, value in wanted:
        patch = Patch(pod.ref, f"/metadata/labels/{escaped(key)}", value)
        if not pod.labels:
            patch = Patch(pod.ref, "/metadata/labels", {key: value})
        yield Edit(
            f"label {pod.namespace}/{pod.name} {key}={value} (in its workload's template)",
            Cause(pod.ref, "metadata.labels"),
            (patch,),
            Breadth.RULE,
            _labelled(cluster.policies_in(pod.namespace), pod, key, value),
        )


def _missing(peer: Peer, pod: Pod) -> tuple[str, str] | None:
    """The one label that the pod lacks to match; None if it has that label with another value."""
    if not isinstance(peer, Pods):
        return None
    open_ = [each for each in peer.pods.requirements if not each.matches(pod.labels)]
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


def _labelled(
    policies: Iterable[NetworkPolicy], pod: Pod, key: str, value: str
) -> Callable[[Cluster], Cluster]:
    """The part with the label added to the pod; `policies` are all of its namespace."""

    def apply(cluster: Cluster) -> Cluster:
        name = (pod.namespace, pod.name)
        if name not in cluster.pods:
            return cluster
        changed = msgspec.structs.replace(pod, labels={**pod.labels, key: value})
        # Policies that did not select the pod before may select it now.
        found = {(p.namespace, p.name): p for p in policies}
        return msgspec.structs.replace(
            cluster,
            pods={**cluster.pods, name: changed},
            network_policies={**found, **cluster.network_policies},
        )

    return apply


def tier_edits(cluster: Cluster, denied: DeniedEnd, new_peer: NewPeer) -> Iterator[Edit]:
    """Inserts an Accept rule before the ClusterNetworkPolicy rule that denies."""
    (cause,) = denied.decision.because
    policy = cluster.cluster_policies.get(cause.ref.name)
    blocks = any(isinstance(peer, Block) for peer in new_peer.peers)
    if policy is None or (blocks and denied.direction == "ingress"):
        return  # ingress rules of ClusterNetworkPolicies have no peers by address
    rule = ClusterRule(f"{denied.field}[new]", "", "Accept", new_peer.peers, (denied.port,))
    rules = policy.rules(denied.direction)
    at = next(number for number, each in enumerate(rules) if each.field == cause.field)
    changed = msgspec.structs.replace(
        policy, **{denied.direction: (*rules[:at], rule, *rules[at:])}
    )

    def apply(cluster: Cluster) -> Cluster:
        policies = {**cluster.cluster_policies, policy.name: changed}
        return msgspec.structs.replace(cluster, cluster_policies=policies)

    written: Json = {"action": "Accept", denied.side: new_peer.as_cluster_json()}
    if denied.packet.protocol != "ICMP":
        number = {"destinationPort": {"number": denied.packet.destination_port}}
        written["protocols"] = [{denied.packet.protocol.lower(): number}]
    yield Edit(
        f"put an Accept rule before {cause_text(cause)}: {denied.side} {new_peer.text}{denied.on}",
        Cause(policy.ref, denied.field),
        (Patch(policy.ref, pointer(cause.field), written),),
        Breadth.ASKED if policy.subject.pods != EVERYTHING else Breadth.WIDE,
        apply,
    )

"""Which entry of a rule's list matched: `spec.ingress[0].from[1]`.

The oracle and the tables name the rule. Where its list has several entries, the reader wants to
know which of them lets the peer in.
"""

import msgspec

from steppe.explain.model import Path
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress
from steppe.oracle.policy import Decision
from steppe.oracle.policy_match import World, is_peer


def with_entries(cluster: Cluster, world: World, path: Path) -> Path:
    """The path with the entries in the causes of what NetworkPolicies allow."""
    out, into = path.received.destination, path.received.source
    return msgspec.structs.replace(
        path,
        egress=_decided(cluster, world, path.egress, "egress", out),
        ingress=_decided(cluster, world, path.ingress, "ingress", into),
    )


def _decided(
    cluster: Cluster, world: World, decision: Decision, direction: Direction, peer: IPAddress
) -> Decision:
    if not decision.allowed or decision.by != "NetworkPolicy":
        return decision
    because = tuple(_entry(cluster, world, each, direction, peer) for each in decision.because)
    return msgspec.structs.replace(decision, because=because)


def _entry(
    cluster: Cluster, world: World, cause: Cause, direction: Direction, peer: IPAddress
) -> Cause:
    policy = cluster.network_policies.get((cause.ref.namespace, cause.ref.name))
    if policy is None:
        return cause
    rules = [rule for rule in policy.rules(direction) if rule.field == cause.field]
    if len(rules) != 1 or len(rules[0].peers) < 2:
        return cause
    side = "from" if direction == "ingress" else "to"
    for index, each in enumerate(rules[0].peers):
        if is_peer(world, each, peer):
            return Cause(cause.ref, f"{cause.field}.{side}[{index}]")
    return cause

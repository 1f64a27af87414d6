"""What the API says must happen to the first packet of a connection, and why.

Policies see the packet after a Service's address was translated, so its destination is the pod that
receives it, and before masquerading, so its source is the real sender. Replies belong to their
connection and are not judged: "the reply traffic for those allowed connections will also be
implicitly allowed" (kubernetes.io, Network Policies).

    sender's pod:    Admin tier ─▶ NetworkPolicies ─▶ Baseline tier ─▶ allowed   (egress)
    receiver's pod:  Admin tier ─▶ NetworkPolicies ─▶ Baseline tier ─▶ allowed   (ingress)

Written for readability: no tables, no indexes. Where the API leaves a choice, the reason for the
one made here is in docs/decisions/0009-policy-semantics.md.
"""

from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import Tier
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.net.packet import Packet
from steppe.oracle.cluster_policy import tier_says
from steppe.oracle.network_policy import allowing, isolating
from steppe.oracle.policy_match import World, is_own_node

By = Literal["no pod", "itself", "own node", "Admin", "NetworkPolicy", "Baseline", "default"]


class Decision(msgspec.Struct, frozen=True):
    """The decision at one end of the connection, who made it, and the rules or policies behind it.

    If NetworkPolicies deny, `because` names the policies that isolate the pod.
    """

    allowed: bool
    by: By
    because: tuple[Cause, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """Whether the connection is allowed: "For a connection from a source pod to a destination
    pod to be allowed, both the egress policy on the source pod and the ingress policy on the
    destination pod need to allow the connection. If either side does not allow the connection,
    it will not happen."
    """

    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        return self.egress.allowed and self.ingress.allowed


def verdict(world: World, packet: Packet, *, via_service: bool = False) -> Verdict:
    """The verdict on the packet; `via_service` if its sender sent it to a Service."""
    return Verdict(
        egress=decision(world, packet, "egress", via_service=via_service),
        ingress=decision(world, packet, "ingress", via_service=via_service),
    )


def decision(
    world: World, packet: Packet, direction: Direction, *, via_service: bool = False
) -> Decision:
    """What the policies at one end decide: those of the sender for egress, of the receiver for
    ingress.
    """
    sender, receiver = world.pods.get(packet.source), world.pods.get(packet.destination)
    if sender is not None and sender == receiver and not via_service:
        # "exception: a pod cannot block access to itself" (Network Policies); "A Pod connecting
        # to its own Pod IP is not subject to CNP." (ClusterNetworkPolicy API overview)
        return Decision(allowed=True, by="itself")
    pod = sender if direction == "egress" else receiver
    if pod is None:
        # Policies apply to pods alone: "host-networked pods are not included in subject
        # selection", and neither are nodes and hosts outside.
        return Decision(allowed=True, by="no pod")
    if direction == "ingress" and is_own_node(world, pod, packet.source):
        # "Traffic is allowed to a pod if … the traffic source is the pod's local node"
        # (NetworkPolicySpec.ingress). ClusterNetworkPolicy has no peer for nodes in ingress.
        return Decision(allowed=True, by="own node")
    # "Policy tiers are evaluated in the following order: * Admin tier * NetworkPolicy tier
    # * Baseline tier" (ClusterNetworkPolicySpec.tier)
    return (
        _tier(world, "Admin", pod, direction, packet)
        or _network_policies(world, pod, direction, packet, to_itself=sender == receiver)
        or _tier(world, "Baseline", pod, direction, packet)
        # "If a given connection wasn't allowed or denied by any of the tiers, the default
        # kubernetes policy is applied, which says that all pods can communicate with each other."
        or Decision(allowed=True, by="default")
    )


def _tier(
    world: World, tier: Tier, pod: Pod, direction: Direction, packet: Packet
) -> Decision | None:
    """A tier's decision; None if it leaves the decision to the next tier."""
    said = tier_says(world, tier, pod, direction, packet)
    # "Pass: Skips all further ClusterNetworkPolicy rules in the current tier for the selected
    # traffic, and passes evaluation to the next tier." (action)
    if said is None or said[0] == "Pass":
        return None
    return Decision(said[0] == "Accept", tier, (said[1],))


def _network_policies(
    world: World, pod: Pod, direction: Direction, packet: Packet, *, to_itself: bool
) -> Decision | None:
    """The NetworkPolicies' decision; None for a pod that no policy isolates: "v1.NetworkPolicy
    always
    makes a final decision for selected pods. Further evaluation only happens for Pods not
    selected by a v1.NetworkPolicy." (ClusterNetworkPolicySpec.tier)
    """
    # Isolation is per direction, so a policy for ingress alone leaves egress to the next tier.
    policies = isolating(world, pod, direction)
    if not policies:
        return None
    if to_itself:
        # "a pod cannot block access to itself": also true through a Service.
        return Decision(allowed=True, by="itself")
    rules = allowing(world, policies, direction, packet)
    if rules:
        return Decision(allowed=True, by="NetworkPolicy", because=rules)
    isolated_by = sorted(Cause(policy.ref, "spec.podSelector") for policy in policies)
    return Decision(allowed=False, by="NetworkPolicy", because=tuple(isolated_by))

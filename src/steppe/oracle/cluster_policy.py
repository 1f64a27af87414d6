"""What one tier of ClusterNetworkPolicies decides for a packet, at the sender or the receiver."""

from typing import Literal

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterRule, Tier
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.net.packet import Packet
from steppe.oracle.policy_match import World, is_peer, is_port, selects

Said = Literal["Accept", "Deny", "Pass"]


def tier_says(
    world: World, tier: Tier, pod: Pod, direction: Direction, packet: Packet
) -> tuple[Said, Cause] | None:
    """The action of the first rule that matches; None if none does: "Any well-defined
    ClusterNetworkPolicy rules should be read as-is, i.e. there will not be any implicit
    isolation effects for the Pods selected by the ClusterNetworkPolicy" (API overview).
    """
    # "Policies with lower priority values have higher precedence, and are checked before
    # policies with higher priority values in the same tier." (priority)
    for policy in sorted(world.cluster_policies, key=lambda policy: policy.precedence):
        if policy.tier != tier or not selects(world, policy.subject, pod):
            continue
        # "a rule that appears at the top of the ingress rules would take the highest precedence"
        for rule in policy.rules(direction):
            if _matches(world, rule, direction, packet):
                return rule.action, Cause(policy.ref, rule.field)
    return None


def _matches(world: World, rule: ClusterRule, direction: Direction, packet: Packet) -> bool:
    peer = packet.source if direction == "ingress" else packet.destination
    # "If any element matches the source of incoming traffic then the specified action is
    # applied." (from; to alike) "Protocols allows for more fine-grain matching" (protocols)
    return any(is_peer(world, some, peer) for some in rule.peers) and any(
        is_port(world, port, packet) for port in rule.ports
    )

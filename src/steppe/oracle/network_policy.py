"""What NetworkPolicies (networking.k8s.io/v1) decide for a packet, at the sender or receiver."""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction, NetworkPolicy, Rule
from steppe.net.packet import Packet
from steppe.oracle.policy_match import World, is_peer, is_port


def isolating(world: World, pod: Pod, direction: Direction) -> tuple[NetworkPolicy, ...]:
    """The policies that isolate the pod in this direction: "There are two sorts of isolation for
    a pod: isolation for egress, and isolation for ingress. … declared independently".
    """
    return tuple(
        policy
        # "podSelector selects the pods to which this NetworkPolicy object applies. … An empty
        # selector matches all pods in the policy's namespace."
        for policy in world.by_namespace.get(pod.namespace, ())
        if direction in policy.isolates and policy.pods.matches(pod.labels)
    )


def allowing(
    world: World, policies: tuple[NetworkPolicy, ...], direction: Direction, packet: Packet
) -> tuple[Cause, ...]:
    """The rules that let the packet through: "Network policies do not conflict; they are
    additive. If any policy or policies apply to a given pod for a given direction, the
    connections allowed in that direction from that pod is the union of what the applicable
    policies allow. Thus, order of evaluation does not affect the policy result."
    """
    return tuple(sorted(_allowing(world, policies, direction, packet)))


def _allowing(
    world: World, policies: tuple[NetworkPolicy, ...], direction: Direction, packet: Packet
) -> Iterator[Cause]:
    for policy in policies:
        for rule in policy.rules(direction):
            if _matches(world, rule, direction, packet):
                yield Cause(policy.ref, rule.field)


def _matches(world: World, rule: Rule, direction: Direction, packet: Packet) -> bool:
    peer = packet.source if direction == "ingress" else packet.destination
    # "The traffic must match both ports and from." (NetworkPolicyIngressRule; to alike)
    # "Items in this list are combined using a logical OR operation." (from, to, ports)
    return any(is_peer(world, some, peer) for some in rule.peers) and any(
        is_port(world, port, packet) for port in rule.ports
    )

"""Which addresses a policy peer matches and which traffic a port matches, by the API text.

Shared by both kinds of policy: "pods", "namespaces" and "networks" mean the same in both. A pod is
found by its address, and only if the address is its own:

"NetworkPolicy behaviour for hostNetwork pods is undefined, but it should be limited to 2
possibilities: … The network plugin cannot properly distinguish hostNetwork pod traffic, and so
it ignores hostNetwork pods when matching podSelector and namespaceSelector. Traffic to/from
hostNetwork pods is treated the same as all other traffic to/from the node IP. (This is the most
common implementation.)" (kubernetes.io, Network Policies) and "Note that host-networked pods are
not included in this type of peer" (ClusterNetworkPolicyIngressPeer): Steppe ignores them in both.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Namespace,
    NetworkPolicy,
    Nodes,
    Peer,
    Pods,
    Port,
    PortName,
)
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.net.ports import PortRange


class World(msgspec.Struct, frozen=True, dict=True):
    """All objects that a verdict may depend on; `world_of` builds one."""

    pods: Mapping[IPAddress, Pod] = {}
    namespaces: Mapping[str, Namespace] = {}
    nodes: Mapping[str, Node] = {}
    network_policies: tuple[NetworkPolicy, ...] = ()
    cluster_policies: tuple[ClusterNetworkPolicy, ...] = ()

    @cached_property
    def by_namespace(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
        """The NetworkPolicies of each namespace that has any."""
        found: dict[str, tuple[NetworkPolicy, ...]] = {}
        for policy in self.network_policies:
            found[policy.namespace] = (*found.get(policy.namespace, ()), policy)
        return found


def world_of(
    pods: Iterable[Pod] = (),
    namespaces: Iterable[Namespace] = (),
    nodes: Iterable[Node] = (),
    network_policies: Iterable[NetworkPolicy] = (),
    cluster_policies: Iterable[ClusterNetworkPolicy] = (),
) -> World:
    """The world of these objects.

    Host-network pods are left out (they are their nodes), and finished ones.
    """
    own = (pod for pod in pods if not pod.host_network and not pod.finished)
    return World(
        pods={address: pod for pod in own for address in pod.addresses},
        namespaces={namespace.name: namespace for namespace in namespaces},
        nodes={node.name: node for node in nodes},
        network_policies=tuple(network_policies),
        cluster_policies=tuple(cluster_policies),
    )


def selects(world: World, chosen: Pods, pod: Pod) -> bool:
    """Whether these selectors select the pod."""
    if chosen.within:
        # "Otherwise it selects the pods matching podSelector in the policy's own namespace."
        return pod.namespace == chosen.within and chosen.pods.matches(pod.labels)
    # "the NetworkPolicyPeer as a whole selects the pods matching podSelector in the Namespaces
    # selected by namespaceSelector."
    namespace = world.namespaces.get(pod.namespace)
    # A namespace that does not exist has no labels, so no selector matches.
    if namespace is None:
        return False
    return chosen.namespaces.matches(namespace.labels) and chosen.pods.matches(pod.labels)


def is_peer(world: World, peer: Peer, address: IPAddress) -> bool:
    """Whether the peer matches the address."""
    match peer:
        case Anyone():
            return True
        case Pods():
            pod = world.pods.get(address)
            return pod is not None and selects(world, peer, pod)
        case Block():
            # "describes a particular CIDR … that is allowed to the pods … The except entry
            # describes CIDRs that should not be included within this rule." (IPBlock) "but note
            # that cluster-internal traffic will be checked against the rule as well" (networks)
            return address in peer.prefix and not any(address in out for out in peer.excepted)
        case Nodes():
            # "It selects the nodeIPs as the peer type by matching on the IPs present in the
            # node.Status.Addresses field of the node." (ClusterNetworkPolicyEgressPeer.nodes)
            return any(
                address in (*node.addresses, *node.external_addresses)
                for node in world.nodes.values()
                if peer.nodes.matches(node.labels)
            )


def is_port(world: World, port: Port, packet: Packet) -> bool:
    """Whether the port of a rule matches the packet."""
    match port:
        case AnyTraffic():
            return True
        case PortRange():
            # "only traffic on the specified protocol AND port will be matched" (port);
            # "the range of ports from port to endPort if set, inclusive" (endPort)
            return port.holds(packet.protocol, packet.destination_port)
        case PortName():
            # "This can either be a numerical or named port on a pod." (NetworkPolicyPort.port)
            # "selects a destination port on a pod based on the ContainerPort name"
            # (destinationNamedPort): in both directions it names a port of the receiver.
            receiver = world.pods.get(packet.destination)
            wanted = (port.name, packet.protocol, packet.destination_port)
            return (
                receiver is not None
                and port.protocol in ("", packet.protocol)
                and any((p.name, p.protocol, p.number) == wanted for p in receiver.ports)
            )


def is_own_node(world: World, pod: Pod, address: IPAddress) -> bool:
    """Whether the address belongs to the node that runs the pod."""
    node = world.nodes.get(pod.node)
    return node is not None and address in (*node.addresses, *node.external_addresses)

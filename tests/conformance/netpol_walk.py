"""A judge of cases: the tables that a world compiles to, walked."""

from collections.abc import Callable
from ipaddress import ip_network

import msgspec

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import IPNetwork, parse_interface
from steppe.net.packet import Packet
from steppe.oracle.policy_match import World
from steppe.settings import Settings
from steppe.walk.walk import Walker

ARRIVED = ("pod", "node", "outside")
_LENGTHS = {4: 24, 6: 64}


def walked(world: World) -> Callable[[Packet], bool]:
    """Whether a packet gets through; hosts outside reach a pod by the pod's own node."""
    pods = {pod.ref: pod for pod in world.pods.values()}
    nodes = [_placed(node, world) for node in world.nodes.values()]
    cluster = cluster_of(
        nodes,
        pods.values(),
        world.namespaces.values(),
        world.network_policies,
        cluster_policies=world.cluster_policies,
    )
    states, _ = compile_cluster(Settings(fabric="direct"), cluster)
    walker = Walker(cluster, states)

    def gets_through(packet: Packet) -> bool:
        receiver = world.pods.get(packet.destination)
        at = receiver.node if receiver is not None else nodes[0].name
        return all(trace.end.kind in ARRIVED for trace in walker.walks(packet, at))

    return gets_through


def _placed(node: Node, world: World) -> Node:
    """The node with the prefixes that its pods are in, on one link with the other nodes."""
    prefixes: dict[IPNetwork, None] = {}
    for address, pod in world.pods.items():
        if pod.node == node.name:
            prefix = ip_network(f"{address}/{_LENGTHS[address.version]}", strict=False)
            prefixes[prefix] = None
    link = tuple(parse_interface(f"{a}/{_LENGTHS[a.version]}") for a in node.addresses)
    underlay = Underlay("eth0", 1500, link)
    own = pod_cidrs(node.name, prefixes)
    return msgspec.structs.replace(node, prefixes=own, underlay=underlay)

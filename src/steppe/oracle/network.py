"""What the Kubernetes network model promises for a packet, written from its documentation alone.

"Each pod in a cluster gets its own unique cluster-wide IP address. … All pods can communicate
with all other pods, whether they are on the same node or on different nodes. Pods can
communicate with each other directly, without the use of proxies or address translation
(NAT)." (kubernetes.io, Services, Load Balancing, and Networking: The Kubernetes network model)

Nothing here reads tables: they are compared with this.
"""

from typing import Literal

import msgspec

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress
from steppe.net.packet import Packet


class Promise(msgspec.Struct, frozen=True):
    """Who receives the packet, and the sender's address as the receiver sees it."""

    kind: Literal["pod", "node", "outside", "dropped"]
    target: str = ""
    source: IPAddress | None = None


def promise(cluster: Cluster, packet: Packet) -> Promise:
    """What must happen to the packet, once Services and policies have been applied."""
    sender_pod, pod = _pod(cluster, packet.source), _pod(cluster, packet.destination)
    if pod is not None:
        if sender_pod is None and _node(cluster, packet.source) is None:
            # From outside, only nodes are promised to be reachable: pods need a Service.
            return Promise("dropped")
        return Promise("pod", f"{pod.namespace}/{pod.name}", packet.source)
    sender_node, node = _node(cluster, packet.source), _node(cluster, packet.destination)
    if node is not None:
        # "agents on a node (e.g. system daemons, kubelet) can communicate with all pods on that
        # node", and everywhere else without NAT: a node sees the sender's own address.
        return Promise("node", node.name, packet.source)
    if _in_pod_prefix(cluster, packet.destination) or _is_outside(sender_pod, sender_node):
        return Promise("dropped")
    if sender_pod is None:
        return Promise("outside", source=packet.source)
    own = _home(cluster, sender_pod, packet.source.version)
    return Promise("outside", source=own) if own is not None else Promise("dropped")


def _is_outside(pod: Pod | None, node: Node | None) -> bool:
    return pod is None and node is None


def _pod(cluster: Cluster, address: IPAddress) -> Pod | None:
    return next((pod for pod in cluster.pods_at(address) if pod.node), None)


def _node(cluster: Cluster, address: IPAddress) -> Node | None:
    return next((node for node in cluster.nodes_at(address) if address in node.addresses), None)


def _in_pod_prefix(cluster: Cluster, address: IPAddress) -> bool:
    return next(cluster.nodes_around(address), None) is not None


def _home(cluster: Cluster, pod: Pod, version: int) -> IPAddress | None:
    """The address of the pod's node: outside the cluster the pod's packets have this source."""
    node = cluster.nodes.get(pod.node)
    return node.address(version) if node is not None else None

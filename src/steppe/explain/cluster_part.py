"""The part of a cluster that may affect one flow.

Tables are searched by a packet's fields, and every entry comes from one object. So for one packet
the tables compiled from these few objects give the same result as those of the whole cluster, and
the oracle does too. Both are used with the part alone, so the cost does not depend on the cluster's
size.
"""

from collections.abc import Container, Iterable, Iterator

from steppe.explain.model import Case
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.doubt import AddressInDoubt, Doubt, EndpointsInDoubt
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Direction, NetworkPolicy
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.net.packet import Packet


def part_for(cluster: Cluster, cases: Iterable[Case]) -> Cluster:
    """All objects that may affect these packets, at any node where they may come in."""
    wanted = tuple(cases)
    packets = dict.fromkeys(case.packet for case in wanted)
    entered = tuple(dict.fromkeys(case.entering for case in wanted))
    found = (service for packet in packets for service in _services(cluster, packet))
    services = {service.ref: service for service in found}.values()
    slices = tuple(slice_ for service in services for slice_ in cluster.slices_of(service))
    versions = {packet.destination.version for packet in packets}
    from_ = dict.fromkeys(packet.source for packet in packets)
    from_ |= dict.fromkeys(case.sender for case in wanted if case.sender is not None)
    to = dict.fromkeys(packet.destination for packet in packets)
    to |= dict.fromkeys(_backends(slices, versions))
    ends = from_ | to
    senders = {pod.ref: pod for address in from_ for pod in cluster.pods_at(address)}
    receivers = {pod.ref: pod for address in to for pod in cluster.pods_at(address)}
    pods = senders | receivers
    nodes = {node.name: node for node in _nodes(cluster, ends, pods.values(), slices, entered)}
    namespaces = cluster.namespaces
    return cluster_of(
        # In the same order as in the whole cluster: it may decide between conflicting objects.
        sorted(nodes.values(), key=lambda node: node.name),
        pods.values(),
        [namespaces[name] for name in {p.namespace for p in pods.values()} if name in namespaces],
        (
            *_policies(cluster, "egress", senders.values()),
            *_policies(cluster, "ingress", receivers.values()),
        ),
        cluster_policies=cluster.cluster_policies.values(),
        services=services,
        slices=slices,
        service_ranges=cluster.service_ranges.values(),
        doubts=_doubts(cluster, pods.values(), services),
    )


def _doubts(cluster: Cluster, pods: Iterable[Pod], services: Iterable[Service]) -> Iterator[Doubt]:
    """The doubts that concern these pods and Services; those about policies may concern any."""
    if not cluster.doubts:
        return
    held = {(pod.namespace, pod.name) for pod in pods}
    named = {(service.namespace, service.name) for service in services}
    for doubt in cluster.doubts:
        match doubt.about:
            case AddressInDoubt(namespace, pod) if (namespace, pod) not in held:
                continue
            case EndpointsInDoubt(namespace, service) if (namespace, service) not in named:
                continue
        yield doubt


def _policies(
    cluster: Cluster, direction: Direction, pods: Iterable[Pod]
) -> Iterator[NetworkPolicy]:
    """Those that isolate these pods in the direction in which the packets pass them."""
    for pod in pods:
        for policy in cluster.policies_on(pod):
            if direction in policy.isolates:
                yield policy


def _services(cluster: Cluster, packet: Packet) -> Iterator[Service]:
    """The Services with this address, on any port (they decide for all ports of it)."""
    yield from cluster.services_at(packet.destination)
    if cluster.nodes_at(packet.destination):
        yield from cluster.services_on(packet.protocol, packet.destination_port)


def _backends(slices: Iterable[EndpointSlice], versions: Container[int]) -> Iterator[IPAddress]:
    for slice_ in slices:
        for endpoint in slice_.endpoints:
            if endpoint.address.version in versions:
                yield endpoint.address


def _nodes(
    cluster: Cluster,
    ends: Iterable[IPAddress],
    pods: Iterable[Pod],
    slices: Iterable[EndpointSlice],
    entrances: Iterable[str],
) -> Iterator[Node]:
    """The nodes with these addresses, with a prefix around one of them, or named by the objects."""
    for address in ends:
        yield from cluster.nodes_at(address)
        yield from cluster.nodes_around(address)
    named = {*(pod.node for pod in pods), *entrances}
    named |= {endpoint.node for slice_ in slices for endpoint in slice_.endpoints}
    for name in named & cluster.nodes.keys():
        yield cluster.nodes[name]


def own_prefix(cluster: Cluster, address: IPAddress) -> IPNetwork | None:
    """The cluster's prefix that contains the address: a pod prefix, a service range, or the address
    itself if a node, pod or Service has it; None if it is outside the cluster.
    """
    for node in cluster.nodes_around(address):
        return next(prefix for prefix in node.networks if address in prefix)
    for range_ in cluster.service_ranges.values():
        for prefix in range_.prefixes:
            if address in prefix:
                return prefix
    holders = (cluster.nodes_at, cluster.pods_at, cluster.services_at)
    return host_prefix(address) if any(look(address) for look in holders) else None

"""The part of a cluster that one flow can have to do with.

Every table is searched by what a packet carries, and every entry comes from one object. So the
tables that these few objects compile to answer for this packet as those of the whole cluster
would, and so does the oracle: both are asked about the part alone, whatever the cluster's size.
"""

from collections.abc import Container, Iterable, Iterator

from steppe.explain.model import Case
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.net.packet import Packet


def part_for(cluster: Cluster, cases: Iterable[Case]) -> Cluster:
    """All that these packets may meet, from wherever they come in."""
    wanted = tuple(cases)
    packets = {case.packet: case.entering for case in wanted}
    found = (service for packet in packets for service in _services(cluster, packet))
    services = {service.ref: service for service in found}.values()
    slices = tuple(slice_ for service in services for slice_ in cluster.slices_of(service))
    versions = {packet.destination.version for packet in packets}
    ends = dict.fromkeys(a for packet in packets for a in (packet.source, packet.destination))
    ends |= dict.fromkeys(case.sender for case in wanted if case.sender is not None)
    ends |= dict.fromkeys(_backends(slices, versions))
    pods = {pod.ref: pod for address in ends for pod in cluster.pods_at(address)}
    nodes = {
        node.name: node for node in _nodes(cluster, ends, pods.values(), slices, packets.values())
    }
    namespaces = cluster.namespaces
    return cluster_of(
        # In the order of the whole cluster's: where objects clash, that may decide.
        sorted(nodes.values(), key=lambda node: node.name),
        pods.values(),
        [namespaces[name] for name in {p.namespace for p in pods.values()} if name in namespaces],
        [policy for pod in pods.values() for policy in cluster.policies_on(pod)],
        cluster_policies=cluster.cluster_policies.values(),
        services=services,
        slices=slices,
        service_ranges=cluster.service_ranges.values(),
    )


def _services(cluster: Cluster, packet: Packet) -> Iterator[Service]:
    """Those that name the address, whatever the port: theirs is the answer for all of them."""
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
    """The nodes at the ends, those that own a prefix around one, and those that objects name."""
    for address in ends:
        yield from cluster.nodes_at(address)
        yield from cluster.nodes_around(address)
    named = {*(pod.node for pod in pods), *entrances}
    named |= {endpoint.node for slice_ in slices for endpoint in slice_.endpoints}
    for name in named & cluster.nodes.keys():
        yield cluster.nodes[name]


def own_prefix(cluster: Cluster, address: IPAddress) -> IPNetwork | None:
    """What of the cluster's own the address is in: somebody's, or kept for pods or Services."""
    for node in cluster.nodes_around(address):
        return next(prefix for prefix in node.networks if address in prefix)
    for range_ in cluster.service_ranges.values():
        for prefix in range_.prefixes:
            if address in prefix:
                return prefix
    holders = (cluster.nodes_at, cluster.pods_at, cluster.services_at)
    return host_prefix(address) if any(look(address) for look in holders) else None

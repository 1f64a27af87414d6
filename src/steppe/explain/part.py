"""The part of a cluster that one flow can have to do with.

Every table is searched by what a packet carries, and every entry comes from one object. So the
tables that these few objects compile to answer for this packet as those of the whole cluster
would, and so does the spec: both are asked about the part alone, whatever the cluster's size.
"""

from collections.abc import Container, Iterable, Iterator

from steppe.ends.index import Index
from steppe.explain.model import Case
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.net.packet import Packet


def part_for(index: Index, cases: Iterable[Case]) -> Cluster:
    """All that these packets may meet, from wherever they come in."""
    packets = {case.packet: case.entering for case in cases}
    found = (service for packet in packets for service in _services(index, packet))
    services = {service.ref: service for service in found}.values()
    slices = tuple(slice_ for service in services for slice_ in index.slices_of(service))
    versions = {packet.destination.version for packet in packets}
    ends = dict.fromkeys(a for packet in packets for a in (packet.source, packet.destination))
    ends |= dict.fromkeys(_backends(slices, versions))
    pods = {pod.ref: pod for address in ends for pod in index.pods_at(address)}
    nodes = {
        node.name: node for node in _nodes(index, ends, pods.values(), slices, packets.values())
    }
    namespaces = index.cluster.namespaces
    return cluster_of(
        # In the order of the whole cluster's: where objects clash, that may decide.
        sorted(nodes.values(), key=lambda node: node.name),
        pods.values(),
        [namespaces[name] for name in {p.namespace for p in pods.values()} if name in namespaces],
        [policy for pod in pods.values() for policy in index.policies_on(pod)],
        cluster_policies=index.cluster.cluster_policies.values(),
        services=services,
        slices=slices,
        service_ranges=index.cluster.service_ranges.values(),
    )


def _services(index: Index, packet: Packet) -> Iterator[Service]:
    """Those that name the address, whatever the port: theirs is the answer for all of them."""
    yield from index.services_at(packet.destination)
    if index.nodes_at(packet.destination):
        yield from index.services_on(packet.protocol, packet.destination_port)


def _backends(slices: Iterable[EndpointSlice], versions: Container[int]) -> Iterator[IPAddress]:
    for slice_ in slices:
        for endpoint in slice_.endpoints:
            if endpoint.address.version in versions:
                yield endpoint.address


def _nodes(
    index: Index,
    ends: Iterable[IPAddress],
    pods: Iterable[Pod],
    slices: Iterable[EndpointSlice],
    entrances: Iterable[str],
) -> Iterator[Node]:
    """The nodes at the ends, those that own a prefix around one, and those that objects name."""
    for address in ends:
        yield from index.nodes_at(address)
        yield from index.nodes_around(address)
    named = {*(pod.node for pod in pods), *entrances}
    named |= {endpoint.node for slice_ in slices for endpoint in slice_.endpoints}
    for name in named & index.cluster.nodes.keys():
        yield index.cluster.nodes[name]


def own_prefix(index: Index, address: IPAddress) -> IPNetwork | None:
    """What of the cluster's own the address is in: somebody's, or kept for pods or Services."""
    for node in index.nodes_around(address):
        return next(prefix for prefix in node.networks if address in prefix)
    for range_ in index.cluster.service_ranges.values():
        for prefix in range_.prefixes:
            if address in prefix:
                return prefix
    holders = (index.nodes_at, index.pods_at, index.services_at)
    return host_prefix(address) if any(look(address) for look in holders) else None

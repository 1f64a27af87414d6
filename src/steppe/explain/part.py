"""The part of a cluster that one flow can have to do with.

Every table is searched by what a packet carries, and every entry comes from one object. So the
tables that these few objects compile to answer for this packet as those of the whole cluster
would, and so does the spec: both are asked about the part alone, whatever the cluster's size.
"""

from collections.abc import Iterable, Iterator

from steppe.explain.index import Index
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix
from steppe.net.packet import Packet


def part_for(index: Index, packet: Packet, at: str = "") -> Cluster:
    """All that this packet may meet, from wherever it comes in (`at`, if it comes from outside)."""
    services = tuple(_services(index, packet))
    slices = tuple(slice_ for service in services for slice_ in index.slices_of(service))
    ends = dict.fromkeys((packet.source, packet.destination, *_backends(slices, packet)))
    pods = {pod.ref: pod for address in ends for pod in index.pods_at(address)}
    nodes = {node.name: node for node in _nodes(index, ends, pods.values(), slices, at)}
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
    found = {service.ref: service for service in index.services_at(packet.destination)}
    if index.nodes_at(packet.destination):
        on_nodes = index.services_on(packet.protocol, packet.destination_port)
        found |= {service.ref: service for service in on_nodes}
    return iter(found.values())


def _backends(slices: Iterable[EndpointSlice], packet: Packet) -> Iterator[IPAddress]:
    for slice_ in slices:
        for endpoint in slice_.endpoints:
            if endpoint.address.version == packet.destination.version:
                yield endpoint.address


def _nodes(
    index: Index,
    ends: Iterable[IPAddress],
    pods: Iterable[Pod],
    slices: Iterable[EndpointSlice],
    at: str,
) -> Iterator[Node]:
    """The nodes at the ends, those that own a prefix around one, and those that objects name."""
    for address in ends:
        yield from index.nodes_at(address)
        yield from index.nodes_around(address)
    named = {pod.node for pod in pods} | {at}
    named |= {endpoint.node for slice_ in slices for endpoint in slice_.endpoints}
    for name in named & index.cluster.nodes.keys():
        yield index.cluster.nodes[name]


def own_prefix(index: Index, address: IPAddress) -> IPNetwork | None:
    """What of the cluster's own the address is in: somebody's, or kept for pods or Services."""
    for node in index.nodes_around(address):
        return next(prefix for prefix in node.pod_cidrs if address in prefix)
    for range_ in index.cluster.service_ranges.values():
        for prefix in range_.prefixes:
            if address in prefix:
                return prefix
    holders = (index.nodes_at, index.pods_at, index.services_at)
    return host_prefix(address) if any(look(address) for look in holders) else None

"""The cluster, looked up by what flows are made of: addresses, ports and names.

Built once; after that, the objects that one flow can have to do with are found without looking
at any other.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from steppe.kube.cluster import Cluster, Name
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import NetworkPolicy
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress
from steppe.net.packet import Protocol
from steppe.settings import NodePortAddresses

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Index:
    """Look-ups over one cluster, and what its operator chose that a packet may meet."""

    def __init__(self, cluster: Cluster, node_port_addresses: NodePortAddresses = ()) -> None:
        self.cluster = cluster
        self.node_port_addresses = node_port_addresses
        self._nodes = _grouped(
            (address, node)
            for node in cluster.nodes.values()
            for address in (*node.addresses, *node.external_addresses)
        )
        self._pods = _grouped(_pods_by_address(cluster))
        self._pods_named = _grouped((pod.name, pod) for pod in cluster.pods.values())
        self._services = _grouped(
            (address, service)
            for service in cluster.services.values()
            for address in addresses_of(service)
        )
        self._node_ports = _grouped(
            ((port.protocol, port.node_port), service)
            for service in cluster.services.values()
            for port in service.ports
            if port.node_port
        )
        self._slices = _grouped(
            ((slice_.namespace, slice_.service), slice_) for slice_ in cluster.slices.values()
        )
        self._policies = _grouped(
            (policy.namespace, policy) for policy in cluster.network_policies.values()
        )
        self._prefixes = _grouped(
            ((prefix.version, prefix.prefixlen, int(prefix.network_address)), node)
            for node in cluster.nodes.values()
            for prefix in node.networks
        )
        self._lengths = {(version, length) for version, length, _ in self._prefixes}
        self._selecting: dict[Name, tuple[NetworkPolicy, ...]] = {}

    def pods_at(self, address: IPAddress) -> tuple[Pod, ...]:
        """The pods with this address: one, in a sound cluster."""
        return self._pods.get(address, ())

    def nodes_at(self, address: IPAddress) -> tuple[Node, ...]:
        return self._nodes.get(address, ())

    def nodes_around(self, address: IPAddress) -> Iterator[Node]:
        """The nodes with a pod prefix that holds the address."""
        for version, length in self._lengths:
            if version == address.version:
                shift = address.max_prefixlen - length
                number = int(address) >> shift << shift
                yield from self._prefixes.get((version, length, number), ())

    def pods_named(self, name: str) -> tuple[Pod, ...]:
        """The pods of this name in all namespaces."""
        return self._pods_named.get(name, ())

    def services_at(self, address: IPAddress) -> tuple[Service, ...]:
        return self._services.get(address, ())

    def services_on(self, protocol: Protocol, node_port: int) -> tuple[Service, ...]:
        return self._node_ports.get((protocol, node_port), ())

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        return self._slices.get((service.namespace, service.name), ())

    def policies_in(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        return self._policies.get(namespace, ())

    def policies_on(self, pod: Pod) -> tuple[NetworkPolicy, ...]:
        """The NetworkPolicies that select the pod."""
        name = (pod.namespace, pod.name)
        if name not in self._selecting:
            self._selecting[name] = tuple(
                policy
                for policy in self.policies_in(pod.namespace)
                if policy.pods.takes(pod.labels)
            )
        return self._selecting[name]


def addresses_of(service: Service) -> tuple[IPAddress, ...]:
    """Every address of the Service's own; its node ports have those of nodes."""
    own = (*service.cluster_ips, *service.external_ips, *service.load_balancer_ips)
    return tuple(dict.fromkeys(own))


def _pods_by_address(cluster: Cluster) -> Iterator[tuple[IPAddress, Pod]]:
    """A host-network pod is its node; a finished pod has given its addresses back."""
    for pod in cluster.pods.values():
        if not pod.host_network and not pod.finished:
            yield from ((address, pod) for address in pod.addresses)


def _grouped(pairs: Iterable[tuple[K, V]]) -> Mapping[K, tuple[V, ...]]:
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}

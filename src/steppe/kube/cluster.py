"""The cluster as one value: objects of each kind by name, with indexes by address and port.

Each index is built at its first use. Then the objects that concern one flow are found without a
scan of all objects.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

import msgspec

from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.doubt import Doubt
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace, NetworkPolicy
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.net.address import IPAddress
from steppe.net.packet import Protocol

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Name = tuple[str, str]
"""Namespace and name."""


class Cluster(msgspec.Struct, frozen=True, dict=True):
    """All API objects that the network depends on, by kind and name.

    `doubts` say what of it is not known (kube/doubt.py): none in a cluster that was read whole.

    Invariant: the mappings never change, so an index that is built once stays correct.
    """

    nodes: Mapping[str, Node] = {}
    pods: Mapping[Name, Pod] = {}
    namespaces: Mapping[str, Namespace] = {}
    network_policies: Mapping[Name, NetworkPolicy] = {}
    cluster_policies: Mapping[str, ClusterNetworkPolicy] = {}
    services: Mapping[Name, Service] = {}
    slices: Mapping[Name, EndpointSlice] = {}
    service_ranges: Mapping[str, ServiceRange] = {}
    doubts: tuple[Doubt, ...] = ()

    def services_with_slices(self) -> Iterator[tuple[Service, tuple[EndpointSlice, ...]]]:
        """Each Service with the slices that list its endpoints."""
        for service in self.services.values():
            yield service, self.slices_of(service)

    def pods_at(self, address: IPAddress) -> tuple[Pod, ...]:
        """The pods that have this address; more than one only if the API's data is wrong.

        Left out: host-network pods (they use their node's addresses) and finished pods.
        """
        return self._pods_by_address.get(address, ())

    def pods_named(self, name: str) -> tuple[Pod, ...]:
        """The pods of this name in all namespaces."""
        return self._pods_by_name.get(name, ())

    def nodes_at(self, address: IPAddress) -> tuple[Node, ...]:
        """The nodes with this address, internal or external."""
        return self._nodes_by_address.get(address, ())

    def nodes_around(self, address: IPAddress) -> Iterator[Node]:
        """The nodes that have a pod prefix which contains the address."""
        for version, length in self._prefix_lengths:
            if version == address.version:
                shift = address.max_prefixlen - length
                number = int(address) >> shift << shift
                yield from self._nodes_by_prefix.get((version, length, number), ())

    def services_at(self, address: IPAddress) -> tuple[Service, ...]:
        """The Services with this address: cluster IP, external or load balancer address."""
        return self._services_by_address.get(address, ())

    def services_on(self, protocol: Protocol, node_port: int) -> tuple[Service, ...]:
        """The Services that have this node port."""
        return self._services_by_node_port.get((protocol, node_port), ())

    def services_in(self, namespace: str) -> tuple[Service, ...]:
        return self._services_by_namespace.get(namespace, ())

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The slices that list the Service's endpoints."""
        return self._slices_by_service.get((service.namespace, service.name), ())

    def policies_in(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        return self._policies_by_namespace.get(namespace, ())

    def policies_on(self, pod: Pod) -> tuple[NetworkPolicy, ...]:
        """The NetworkPolicies that select the pod."""
        name = (pod.namespace, pod.name)
        if name not in self._policies_by_pod:
            self._policies_by_pod[name] = tuple(
                policy
                for policy in self.policies_in(pod.namespace)
                if policy.pods.matches(pod.labels)
            )
        return self._policies_by_pod[name]

    @cached_property
    def namespaces_named(self) -> frozenset[str]:
        """The namespaces that exist, or that a pod or Service is in."""
        inside = (namespace for names in (self.pods, self.services) for namespace, _ in names)
        return frozenset((*self.namespaces, *inside))

    @cached_property
    def _pods_by_address(self) -> Mapping[IPAddress, tuple[Pod, ...]]:
        return _by_address(
            (address, pod)
            for pod in self.pods.values()
            if not pod.host_network and not pod.finished
            for address in pod.addresses
        )

    @cached_property
    def _pods_by_name(self) -> Mapping[str, tuple[Pod, ...]]:
        return _grouped((pod.name, pod) for pod in self.pods.values())

    @cached_property
    def _nodes_by_address(self) -> Mapping[IPAddress, tuple[Node, ...]]:
        return _by_address(
            (address, node)
            for node in self.nodes.values()
            for address in (*node.addresses, *node.external_addresses)
        )

    @cached_property
    def _nodes_by_prefix(self) -> Mapping[tuple[int, int, int], tuple[Node, ...]]:
        """By IP version, length and first address."""
        return _grouped(
            ((prefix.version, prefix.prefixlen, int(prefix.network_address)), node)
            for node in self.nodes.values()
            for prefix in node.networks
        )

    @cached_property
    def _prefix_lengths(self) -> tuple[tuple[int, int], ...]:
        """By IP version: the lengths that pod prefixes have."""
        return tuple(sorted({(version, length) for version, length, _ in self._nodes_by_prefix}))

    @cached_property
    def _services_by_address(self) -> Mapping[IPAddress, tuple[Service, ...]]:
        return _by_address(
            (address, service)
            for service in self.services.values()
            for address in service.addresses
        )

    @cached_property
    def _services_by_namespace(self) -> Mapping[str, tuple[Service, ...]]:
        return _grouped((service.namespace, service) for service in self.services.values())

    @cached_property
    def _services_by_node_port(self) -> Mapping[tuple[Protocol, int], tuple[Service, ...]]:
        return _grouped(
            ((port.protocol, port.node_port), service)
            for service in self.services.values()
            for port in service.ports
            if port.node_port
        )

    @cached_property
    def _slices_by_service(self) -> Mapping[Name, tuple[EndpointSlice, ...]]:
        return _grouped(
            ((slice_.namespace, slice_.service), slice_) for slice_ in self.slices.values()
        )

    @cached_property
    def _policies_by_namespace(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
        return _grouped((policy.namespace, policy) for policy in self.network_policies.values())

    @cached_property
    def _policies_by_pod(self) -> dict[Name, tuple[NetworkPolicy, ...]]:
        """A cache, filled at each pod's first look-up."""
        return {}


def cluster_of(
    nodes: Iterable[Node] = (),
    pods: Iterable[Pod] = (),
    namespaces: Iterable[Namespace] = (),
    network_policies: Iterable[NetworkPolicy] = (),
    *,
    cluster_policies: Iterable[ClusterNetworkPolicy] = (),
    services: Iterable[Service] = (),
    slices: Iterable[EndpointSlice] = (),
    service_ranges: Iterable[ServiceRange] = (),
    doubts: Iterable[Doubt] = (),
) -> Cluster:
    """A cluster made of these objects; a later one of the same name replaces an earlier."""
    return Cluster(
        nodes={node.name: node for node in nodes},
        pods={(pod.namespace, pod.name): pod for pod in pods},
        namespaces={namespace.name: namespace for namespace in namespaces},
        network_policies={(policy.namespace, policy.name): policy for policy in network_policies},
        cluster_policies={policy.key: policy for policy in cluster_policies},
        services={(service.namespace, service.name): service for service in services},
        slices={(slice_.namespace, slice_.name): slice_ for slice_ in slices},
        service_ranges={known.name: known for known in service_ranges},
        doubts=tuple(doubts),
    )


def _by_address(pairs: Iterable[tuple[IPAddress, V]]) -> Mapping[IPAddress, tuple[V, ...]]:
    """As `_grouped`, for keys that have one value each in a cluster that is in order.

    Each address is hashed only once: that costs as much as all else.
    """
    found: dict[IPAddress, tuple[V, ...]] = {}
    shared: dict[IPAddress, list[V]] = {}
    for address, value in pairs:
        (first,) = found.setdefault(address, (value,))
        if first is not value:
            holders = shared.setdefault(address, [first])
            if holders[-1] is not value:
                holders.append(value)
    return found | {address: tuple(holders) for address, holders in shared.items()}


def _grouped(pairs: Iterable[tuple[K, V]]) -> Mapping[K, tuple[V, ...]]:
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}

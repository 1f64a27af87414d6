"""The cluster as one value, each kind keyed by name."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace, NetworkPolicy
from steppe.kube.services import EndpointSlice, Service, ServiceRange

Name = tuple[str, str]
"""Namespace and name."""


class Cluster(msgspec.Struct, frozen=True):
    """What the API holds, as far as the network depends on it."""

    nodes: Mapping[str, Node] = {}
    pods: Mapping[Name, Pod] = {}
    namespaces: Mapping[str, Namespace] = {}
    network_policies: Mapping[Name, NetworkPolicy] = {}
    cluster_policies: Mapping[str, ClusterNetworkPolicy] = {}
    services: Mapping[Name, Service] = {}
    slices: Mapping[Name, EndpointSlice] = {}
    service_ranges: Mapping[str, ServiceRange] = {}

    def services_with_slices(self) -> Iterator[tuple[Service, tuple[EndpointSlice, ...]]]:
        """Each Service with the slices that list its endpoints."""
        slices: dict[Name, list[EndpointSlice]] = {}
        for slice_ in self.slices.values():
            slices.setdefault((slice_.namespace, slice_.service), []).append(slice_)
        for name, service in self.services.items():
            yield service, tuple(slices.get(name, ()))


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
) -> Cluster:
    """A cluster made of these objects; a later one of the same name replaces an earlier."""
    return Cluster(
        nodes={node.name: node for node in nodes},
        pods={(pod.namespace, pod.name): pod for pod in pods},
        namespaces={namespace.name: namespace for namespace in namespaces},
        network_policies={(policy.namespace, policy.name): policy for policy in network_policies},
        cluster_policies={policy.name: policy for policy in cluster_policies},
        services={(service.namespace, service.name): service for service in services},
        slices={(slice_.namespace, slice_.name): slice_ for slice_ in slices},
        service_ranges={known.name: known for known in service_ranges},
    )

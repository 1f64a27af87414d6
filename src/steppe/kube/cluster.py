"""The cluster as one value, each kind keyed by name."""

from collections.abc import Iterable, Mapping

import msgspec

from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace, NetworkPolicy


class Cluster(msgspec.Struct, frozen=True):
    """What the API holds, as far as the pod network depends on it."""

    nodes: Mapping[str, Node] = {}
    pods: Mapping[tuple[str, str], Pod] = {}
    namespaces: Mapping[str, Namespace] = {}
    network_policies: Mapping[tuple[str, str], NetworkPolicy] = {}


def cluster_of(
    nodes: Iterable[Node] = (),
    pods: Iterable[Pod] = (),
    namespaces: Iterable[Namespace] = (),
    network_policies: Iterable[NetworkPolicy] = (),
) -> Cluster:
    """A cluster made of these objects; a later one of the same name replaces an earlier."""
    return Cluster(
        nodes={node.name: node for node in nodes},
        pods={(pod.namespace, pod.name): pod for pod in pods},
        namespaces={namespace.name: namespace for namespace in namespaces},
        network_policies={(policy.namespace, policy.name): policy for policy in network_policies},
    )

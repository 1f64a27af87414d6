"""A cluster from decoded manifests: what `kubectl get -o yaml` prints, or files people wrote."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from steppe.kube import policy_wire, service_wire, wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.cluster_policies import cluster_policy_from
from steppe.kube.objects import node_from, pod_from
from steppe.kube.policies import Namespace, namespace_from, network_policy_from
from steppe.kube.services import range_from, service_from, slice_from


def _namespace(seen: policy_wire.Namespace) -> tuple[Namespace, tuple[Problem, ...]]:
    return namespace_from(seen), ()


_KINDS: Mapping[str, tuple[str, type[Any], Callable[[Any], tuple[Any, tuple[Problem, ...]]]]] = {
    "Node": ("nodes", wire.Node, node_from),
    "Pod": ("pods", wire.Pod, pod_from),
    "Namespace": ("namespaces", policy_wire.Namespace, _namespace),
    "NetworkPolicy": ("network_policies", policy_wire.NetworkPolicy, network_policy_from),
    "ClusterNetworkPolicy": (
        "cluster_policies",
        policy_wire.ClusterNetworkPolicy,
        cluster_policy_from,
    ),
    "Service": ("services", service_wire.Service, service_from),
    "EndpointSlice": ("slices", service_wire.EndpointSlice, slice_from),
    "ServiceCIDR": ("service_ranges", service_wire.ServiceCIDR, range_from),
}
"""Kind → its place in the cluster, its shape in the API, and how it is checked."""


def cluster_from(documents: Iterable[Any]) -> tuple[Cluster, tuple[Problem, ...]]:
    """The cluster these documents describe; Lists are opened, kinds not in use passed over."""
    found: dict[str, list[Any]] = {place: [] for place, _, _ in _KINDS.values()}
    problems: list[Problem] = []
    for document in _opened(documents):
        kind = str(document.get("kind"))
        if kind not in _KINDS:
            continue
        place, shape, check = _KINDS[kind]
        try:
            checked, wrong = check(msgspec.convert(document, shape))
        except msgspec.ValidationError as error:
            problems.append(Problem(Cause(_ref(document)), f"not readable as a {kind}: {error}"))
            continue
        found[place].append(checked)
        problems += wrong
    return cluster_of(**found), tuple(problems)


def _opened(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if not isinstance(document, dict):
            continue
        if str(document.get("kind", "")).endswith("List"):
            yield from _opened(document.get("items") or ())
        else:
            yield document


def _ref(document: dict[str, Any]) -> ObjectRef:
    metadata = document.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    return ObjectRef(
        str(document.get("kind", "")), str(names.get("namespace", "")), str(names.get("name", ""))
    )

"""A cluster from decoded manifests: what `kubectl get -o yaml` prints, or files people wrote.

`cluster_from` uses only what is written. `loaded_from` adds what a cluster would add, so that every
pod has a node and an address, and records what it added:

    documents ─▶ namespaces ─▶ pods of templates ─▶ nodes, pods on them ─▶ cluster IPs ─▶ endpoints
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from steppe.kube import policy_wire, service_wire, wire
from steppe.kube.admin_policies import AdminPolicy, admin_policy_from
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.cluster_policies import cluster_policy_from
from steppe.kube.objects import node_from, pod_from
from steppe.kube.policies import Namespace, namespace_from, network_policy_from
from steppe.kube.services import range_from, service_from, slice_from
from steppe.manifests.collect import Collected, Refused, collected
from steppe.manifests.documents import Json, Manifest, Objects, labels_of, readable, ref_of
from steppe.manifests.doubts import address_doubts, closed_policies, doubts_of
from steppe.manifests.endpoints import made_slices
from steppe.manifests.mirrored import mirrored_slices
from steppe.manifests.numbering import Families, numbered_services
from steppe.manifests.placing import missing_nodes, placed_pods
from steppe.manifests.relevant import listed
from steppe.manifests.taken import open_orders, taken_twice
from steppe.manifests.templates import WORKLOADS, templated_pods
from steppe.net.address import IPNetwork
from steppe.settings import Settings

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class Loaded(msgspec.Struct, frozen=True):
    """A cluster, and what of it is invented or incomplete.

    `invented` names the objects that no document contains, or that had no address in theirs: a
    real cluster may decide differently about them. `gaps` are sentences that say what could not
    be read or understood. `objects` are all objects as documents, the invented ones included.
    `placed` are the pods for which no document says a node, so that any may be theirs.
    `refused` are objects that are not among them, because an API server would not take them.
    `makers` are, by namespace, objects of kinds that make pods which are not here. What hangs on
    either stands in `cluster.doubts`.
    `settings` say what objects may claim: those of the cluster's agents, where these are known.
    """

    cluster: Cluster = Cluster()
    problems: tuple[Problem, ...] = ()
    invented: frozenset[ObjectRef] = frozenset()
    gaps: tuple[str, ...] = ()
    objects: Mapping[ObjectRef, Json] = {}
    placed: frozenset[ObjectRef] = frozenset()
    refused: Mapping[ObjectRef, Refused] = {}
    makers: Mapping[str, tuple[ObjectRef, ...]] = {}
    settings: Settings = Settings()

    def pods_unknown(self, namespace: str) -> str:
        """Why there may be pods in the namespace that are not among the objects, as a clause; ""
        if there are none.
        """
        makers = self.makers.get(namespace)
        if makers:
            kinds = listed({ref.full_kind for ref in makers})
            return f"objects of kind {kinds} make pods that are not known here"
        workloads = (*WORKLOADS, "Pod")
        refused = [r for r in self.refused if r.kind in workloads and r.namespace == namespace]
        return f"{listed(map(str, refused))} cannot be counted on" if refused else ""


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
    "AdminNetworkPolicy": ("cluster_policies", AdminPolicy, admin_policy_from),
    "BaselineAdminNetworkPolicy": ("cluster_policies", AdminPolicy, admin_policy_from),
    "Service": ("services", service_wire.Service, service_from),
    "EndpointSlice": ("slices", service_wire.EndpointSlice, slice_from),
    "ServiceCIDR": ("service_ranges", service_wire.ServiceCIDR, range_from),
}
"""Kind → its field in Cluster, its wire shape, and the function that checks it."""


def cluster_from(documents: Iterable[Any]) -> tuple[Cluster, tuple[Problem, ...]]:
    """The cluster that these documents describe, with nothing added; other kinds are ignored."""
    found = collected(Manifest(document, admitted=True) for document in documents)
    cluster, problems = _checked(found.objects)
    return cluster, (*found.problems, *problems)


def loaded_from(manifests: Iterable[Manifest], gaps: Iterable[str] = ()) -> Loaded:
    """The cluster that these manifests would become; `gaps` are those found while reading them."""
    return loaded_of(collected(manifests), gaps)


_Seen = dict[ObjectRef, tuple[Json, Any, Iterable[Problem]]]
"""Documents that were checked already, what they came to, and what is wrong with them."""


def loaded_of(found: Collected, gaps: Iterable[str] = ()) -> Loaded:
    """The cluster that these objects would become."""
    objects, invented, seen = dict(found.objects), set[ObjectRef](), _Seen()
    problems = list(found.problems)

    def add(more: Objects) -> None:
        objects.update(more)
        invented.update(more)

    clashing = taken_twice(objects)
    for ref, clash in clashing.items():
        del objects[ref]
        problems += clash.problems
    refused = {**found.refused, **clashing}
    prefixes = tuple(_written_prefixes(objects))
    add(missing_nodes(objects))
    nodes = tuple(sorted(ref.name for ref in objects if ref.kind == "Node"))
    add(_by_ref(templated_pods(objects, nodes, problems)))
    nowhere = frozenset(ref for ref, document in objects.items() if _is_nowhere(ref, document))
    placed = placed_pods(objects, problems)
    add(placed)
    add(_missing_namespaces(objects))
    objects.update(_labelled_namespaces(objects))
    add(numbered_services(objects, _families(objects, seen)))
    add(_by_ref(mirrored_slices(objects)))
    add(_by_ref(made_slices(objects)))
    cluster, more_problems = _checked(objects, seen)
    cluster = _with_closed(cluster, refused)
    of_addresses = address_doubts(cluster, _of_pods(placed), prefixes)
    doubts = (*doubts_of(objects, refused, found.makers), *of_addresses)
    return Loaded(
        msgspec.structs.replace(cluster, doubts=doubts),
        (*problems, *more_problems),
        frozenset(invented),
        (*gaps, *found.gaps, *open_orders(cluster)),
        objects,
        nowhere,
        refused=refused,
        makers=found.makers,
    )


def _with_closed(cluster: Cluster, refused: Mapping[ObjectRef, Refused]) -> Cluster:
    """The cluster with closed policies in the place of those that are refused."""
    own, admins = closed_policies(refused)
    if not own and not admins:
        return cluster
    return msgspec.structs.replace(
        cluster,
        network_policies={(p.namespace, p.name): p for p in own} | dict(cluster.network_policies),
        cluster_policies={p.key: p for p in admins} | dict(cluster.cluster_policies),
    )


def _of_pods(placed: Objects) -> Iterator[ObjectRef]:
    """Of pods that were placed those with an address of their own, not their node's."""
    for ref, document in placed.items():
        if not (document.get("spec") or {}).get("hostNetwork"):
            yield ref


def _written_prefixes(objects: Objects) -> Iterator[IPNetwork]:
    """The pod prefixes of the nodes that documents describe."""
    for ref, document in objects.items():
        seen = readable(document, wire.Node) if ref.kind == "Node" else None
        if seen is not None:
            yield from node_from(seen)[0].networks


def _is_nowhere(ref: ObjectRef, document: Json) -> bool:
    """Whether this is a pod without a node."""
    spec = document.get("spec")
    return ref.kind == "Pod" and not (isinstance(spec, dict) and spec.get("nodeName"))


def _by_ref(documents: Iterable[Json]) -> Objects:
    return {ref_of(document): document for document in documents}


def _missing_namespaces(objects: Objects) -> Objects:
    """The namespaces of objects for which there is no Namespace document."""
    names = sorted({ref.namespace for ref in objects if ref.namespace})
    refs = (ObjectRef("Namespace", "", name) for name in names)
    return {
        ref: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ref.name}}
        for ref in refs
        if ref not in objects
    }


def _labelled_namespaces(objects: Objects) -> Objects:
    """Namespaces with the label that every namespace has: "The Kubernetes control plane sets an
    immutable label
    kubernetes.io/metadata.name on all namespaces. The value of the label is the namespace name."
    """
    return {
        ref: _labelled(document, {NAMESPACE_LABEL: ref.name})
        for ref, document in objects.items()
        if ref.kind == "Namespace"
    }


def _labelled(document: Json, labels: dict[str, str]) -> Json:
    metadata = document["metadata"]
    return document | {"metadata": metadata | {"labels": {**labels_of(document), **labels}}}


def _families(objects: Objects, seen: _Seen) -> Families:
    """The families of the cluster's pods, the primary one first."""
    found: dict[str, None] = {}
    ends = {ref: obj for ref, obj in objects.items() if ref.kind in ("Node", "Pod")}
    cluster, _ = _checked(ends, seen)
    for node in cluster.nodes.values():
        found |= dict.fromkeys(f"IPv{prefix.version}" for prefix in node.prefixes)
    for pod in cluster.pods.values():
        found |= dict.fromkeys(f"IPv{address.version}" for address in pod.addresses)
    return tuple(found)


def _checked(objects: Objects, seen: _Seen | None = None) -> tuple[Cluster, tuple[Problem, ...]]:
    """The cluster of these documents; `seen` has those that were checked before, and gets these."""
    known = seen if seen is not None else {}
    found: dict[str, list[Any]] = {field: [] for field, _, _ in _KINDS.values()}
    problems: list[Problem] = []
    for ref, document in objects.items():
        if ref.kind not in _KINDS:
            continue
        field, shape, check = _KINDS[ref.kind]
        before, checked, wrong = known.get(ref, (None, None, ()))
        if before is not document:
            try:
                checked, wrong = check(msgspec.convert(document, shape))
            except msgspec.ValidationError as error:
                problems.append(Problem(Cause(ref), f"not readable as a {ref.kind}: {error}"))
                continue
            known[ref] = document, checked, wrong
        found[field].append(checked)
        problems += wrong
    return cluster_of(**found), tuple(problems)

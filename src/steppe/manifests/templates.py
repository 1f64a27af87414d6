"""Invents the pods of workloads from the pod templates of Deployments, StatefulSets, Jobs and so
on.

It does so only if the documents contain no pod of the workload: a dump of a live cluster has the
real ones. Names end in ordinals (`web-0`), so that the same manifests always give the same pods.
placing.py gives the pods nodes and addresses.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.kinds import group_in
from steppe.kube.policy_wire import LabelSelector
from steppe.kube.selectors import Selector, selector_from
from steppe.manifests.documents import Json, Objects, labels_of

WORKLOADS = frozenset(
    (
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "ReplicationController",
    )
)

MOST_PODS = 150_000
"""The most pods that are invented for one workload: "No more than 150,000 total pods" (Kubernetes,
Considerations for large clusters). A larger number is a typing error and would fill the memory.
"""


class _Template(msgspec.Struct, frozen=True):
    metadata: wire.ObjectMeta = wire.ObjectMeta()
    spec: dict[str, Any] = {}


class _FirstOrdinal(msgspec.Struct, frozen=True):
    start: int = 0


class _Spec(msgspec.Struct, frozen=True):
    template: _Template
    ordinals: _FirstOrdinal | None = None
    replicas: int | None = None
    parallelism: int | None = None
    selector: LabelSelector | None = None


class _Document(msgspec.Struct, frozen=True):
    spec: dict[str, Any]


class _Workload(msgspec.Struct, frozen=True):
    """A pod template, the names of its pods, and the selector that finds them."""

    ref: ObjectRef
    spec: dict[str, Any]
    labels: Mapping[str, str]
    ordinals: tuple[str, ...]
    selector: Selector


def templated_pods(
    objects: Objects, nodes: tuple[str, ...], problems: list[Problem]
) -> Iterator[Json]:
    """Pods for every workload that has none among the objects."""
    pods: dict[str, list[Mapping[str, str]]] = {}
    for ref, document in objects.items():
        if ref.kind == "Pod":
            pods.setdefault(ref.namespace, []).append(labels_of(document))
    taken = {(ref.namespace, ref.name) for ref in objects if ref.kind == "Pod"}
    for ref, document in objects.items():
        if ref.kind not in WORKLOADS or _owned(document, objects):
            continue
        try:
            workload = _workload(ref, document, nodes, problems)
        except msgspec.ValidationError as error:
            message = f"not readable as a {ref.kind}, so it has no pods here: {error}"
            problems.append(Problem(Cause(ref), message))
            continue
        if any(workload.selector.matches(labels) for labels in pods.get(ref.namespace, ())):
            continue
        for ordinal in workload.ordinals:
            name = _free_name(ref, ordinal, taken)
            taken.add((ref.namespace, name))
            yield _pod(workload, name, ordinal)


def _workload(
    ref: ObjectRef, document: Json, nodes: tuple[str, ...], problems: list[Problem]
) -> _Workload:
    raw = msgspec.convert(document, _Document).spec
    if ref.kind == "CronJob":
        raw = msgspec.convert(raw.get("jobTemplate"), _Document).spec
    if ref.kind == "ReplicationController":
        # Only this kind has a plain map as selector (ReplicationControllerSpec.selector).
        raw = raw | {"selector": {"matchLabels": raw.get("selector")}}
    spec = msgspec.convert(raw, _Spec)
    # Checked here, where the Problem can name the workload, and once for all its pods.
    msgspec.convert({"metadata": {}, "spec": spec.template.spec}, wire.Pod)
    labels = dict(spec.template.metadata.labels or {})
    if ref.kind in ("Job", "CronJob"):
        # "the Job controller … adds labels batch.kubernetes.io/job-name" (Jobs), which is also
        # what its pods are selected by.
        labels["batch.kubernetes.io/job-name"] = labels["job-name"] = ref.name
    selects = spec.selector
    if selects is None or not (selects.match_labels or selects.match_expressions):
        selects = LabelSelector(match_labels=labels)
    selector, _ = selector_from(selects, ref, "spec.selector", problems)
    return _Workload(ref, spec.template.spec, labels, _ordinals(ref.kind, spec, nodes), selector)


def _ordinals(kind: str, spec: _Spec, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """The suffixes of the names of one workload's pods."""
    if kind == "DaemonSet":
        return nodes
    # "Defaults to 1" (replicas); a Job without parallelism runs one pod at a time.
    count = spec.parallelism if kind in ("Job", "CronJob") else spec.replicas
    wanted = 1 if count is None else count
    if wanted > MOST_PODS:
        raise msgspec.ValidationError(f"{wanted} pods are more than any cluster has")
    # "start is the number representing the first replica's index" (StatefulSetOrdinals)
    first = spec.ordinals.start if spec.ordinals is not None else 0
    return tuple(str(index) for index in range(first, first + wanted))


def _pod(workload: _Workload, name: str, ordinal: str) -> Json:
    ref, labels, spec = workload.ref, dict(workload.labels), workload.spec
    if ref.kind == "StatefulSet":
        labels |= stateful_labels(name, ordinal)
    if ref.kind == "DaemonSet":
        spec = spec | {"nodeName": ordinal}
    owner = {"kind": ref.kind, "name": ref.name, "controller": True}
    metadata = {"name": name, "namespace": ref.namespace, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"ownerReferences": [owner]},
        "spec": spec,
    }


def stateful_labels(name: str, ordinal: str) -> dict[str, str]:
    """The labels that a StatefulSet's pod gets: "the StatefulSet controller … adds a label,
    statefulset.kubernetes.io/pod-name … [and] apps.kubernetes.io/pod-index" (StatefulSets).
    """
    return {
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": ordinal,
    }


def _free_name(ref: ObjectRef, ordinal: str, taken: set[tuple[str, str]]) -> str:
    """`web-0`; with the workload's kind in it if another workload `web` has this name already."""
    name = f"{ref.name}-{ordinal}"
    return f"{ref.name}-{ref.kind.lower()}-{ordinal}" if (ref.namespace, name) in taken else name


def _owner(owner: Json, namespace: str) -> ObjectRef:
    kind, version = str(owner.get("kind")), owner.get("apiVersion")
    group = group_in(str(version) if version is not None else None, kind)
    return ObjectRef(kind, namespace, str(owner.get("name")), group)


def _owned(document: Json, objects: Objects) -> bool:
    """Whether another of the objects owns this one, as a Deployment owns its ReplicaSet."""
    metadata = document.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    namespace = str(metadata.get("namespace") or "default") if isinstance(metadata, dict) else ""
    return any(
        _owner(owner, namespace) in objects for owner in owners or () if isinstance(owner, dict)
    )

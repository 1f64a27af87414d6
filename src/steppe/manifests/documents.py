"""Decoded documents as objects by reference: Lists are expanded, duplicates and unknown kinds
reported.

Kinds are identified with their API group, because other projects have Services and NetworkPolicies
too. The fields of an object are not checked here but in `kube`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.kinds import GROUP_OF, group_in, is_cluster_wide, is_known

Json = dict[str, Any]
Objects = dict[ObjectRef, Json]
Shape = TypeVar("Shape", bound=msgspec.Struct)

IN_USE = frozenset(
    (
        "Node",
        "Namespace",
        "Pod",
        "Service",
        "ReplicationController",
        "EndpointSlice",
        "NetworkPolicy",
        "ServiceCIDR",
        "ClusterNetworkPolicy",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
    )
)
"""The kinds that Steppe uses, each of the API group that kube/kinds.py has for it."""

_DECIDING_GROUPS = (
    "cilium.io",
    "projectcalico.org",
    "gateway.networking.k8s.io",
    "networking.istio.io",
    "security.istio.io",
    "policy.linkerd.io",
)
"""API groups (and their subdomains) whose objects may allow, deny or redirect traffic."""


class Manifest(msgspec.Struct, frozen=True):
    """A decoded document, and the file and line it was read from, "" if not known."""

    content: Any
    where: str = ""


class Collected(msgspec.Struct, frozen=True):
    """The objects of kinds in use, Problems of documents, and what is not understood."""

    objects: Objects
    problems: tuple[Problem, ...] = ()
    gaps: tuple[str, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct, frozen=True):
    metadata: _Metadata


def collected(manifests: Iterable[Manifest]) -> Collected:
    """The objects of these documents.

    Of duplicates the last one counts, as with `kubectl apply`.
    """
    objects: Objects = {}
    written: dict[ObjectRef, str] = {}
    problems: list[Problem] = []
    gaps: list[str] = []
    strangers: dict[str, list[str]] = {}
    for content, where in _opened(manifests):
        kind, fault = _kind(content)
        if fault:
            gaps.append(f"{where or 'a document'} {fault}, so it is passed over")
            continue
        ref = ref_of(content)
        if kind not in IN_USE or not is_known(kind, ref.group):
            if _decides(ref):
                strangers.setdefault(_unknown_kind(ref), []).append(_named(ref))
        elif not ref.name:
            problems.append(Problem(Cause(ref, "metadata.name"), _at("has no name", where)))
        else:
            if ref in objects and objects[ref] != _in_its_namespace(content, ref):
                first = written[ref] or "an earlier document"
                message = _at(f"was already given in {first}; the later one counts", where)
                problems.append(Problem(Cause(ref), message))
            objects[ref], written[ref] = _in_its_namespace(content, ref), where
    gaps += (not_understood(kind, names) for kind, names in sorted(strangers.items()))
    return Collected(objects, tuple(problems), tuple(gaps))


def not_understood(kind: str, names: Iterable[str]) -> str:
    """The sentence for objects of a kind that only another project's software implements."""
    listed = sorted(names)
    shown = ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
    return (
        f"kind {kind} is not understood ({shown}): what it allows or denies is not in this answer"
    )


def ref_of(document: Json) -> ObjectRef:
    """The object's reference; a namespaced object without a namespace is in `default`."""
    metadata = document.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    kind = str(document.get("kind", ""))
    version = document.get("apiVersion")
    group = group_in(str(version) if version is not None else None, kind)
    # "An empty namespace is equivalent to the "default" namespace" (ObjectMeta.namespace)
    wide = is_cluster_wide(kind, group)
    namespace = "" if wide else str(names.get("namespace") or "default")
    return ObjectRef(kind, namespace, str(names.get("name") or ""), group)


def labels_of(document: Json) -> Mapping[str, str]:
    """The object's labels; none if they are not valid, which is reported where they are checked."""
    seen = readable(document, _Labelled)
    return (seen.metadata.labels or {}) if seen is not None else {}


def readable(document: Json, shape: type[Shape]) -> Shape | None:
    """The document as this shape; None if it is not, which is reported where it is checked."""
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError:
        return None


def _in_its_namespace(document: Json, ref: ObjectRef) -> Json:
    metadata = document["metadata"]
    if (metadata.get("namespace") or "") == ref.namespace:
        return document
    return document | {"metadata": metadata | {"namespace": ref.namespace}}


def _opened(manifests: Iterable[Manifest]) -> Iterator[tuple[Any, str]]:
    """Every document that is not empty, with Lists replaced by their items."""
    for manifest in manifests:
        content = manifest.content
        if content is None:
            continue
        kind = str(content.get("kind", "")) if isinstance(content, dict) else ""
        items = content.get("items") if kind.endswith("List") else None
        if isinstance(items, list):
            yield from _opened(Manifest(_of_list(item, content), manifest.where) for item in items)
        elif items is not None or not kind.endswith("List"):
            yield content, manifest.where


def _of_list(item: Any, around: Json) -> Any:
    """A List's item as a document of its own: servers leave out kind and version in items."""
    kind = str(around["kind"]).removesuffix("List")
    if not isinstance(item, dict) or not kind:
        return item
    return {"apiVersion": around.get("apiVersion"), "kind": kind} | item


def _kind(content: Any) -> tuple[str, str]:
    """The document's kind, and what is wrong if it has none."""
    if not isinstance(content, dict):
        return "", "is no Kubernetes object (a mapping with apiVersion, kind and metadata)"
    kind = content.get("kind")
    if not isinstance(kind, str) or not kind:
        return "", "has no kind"
    return kind, ""


def _decides(ref: ObjectRef) -> bool:
    """Whether objects of this kind may decide about traffic, by their API group or kind."""
    group = ref.group
    ours = any(group == known or group.endswith(f".{known}") for known in _DECIDING_GROUPS)
    return ours or ref.kind == "Ingress" or ref.kind.endswith("NetworkPolicy")


def _unknown_kind(ref: ObjectRef) -> str:
    """The kind; with its group if one of the kinds in use has the same name."""
    known = GROUP_OF.get(ref.kind, ref.group) == ref.group
    return ref.kind if known else f"{ref.kind} ({ref.group})"


def _named(ref: ObjectRef) -> str:
    return f"{ref.namespace}/{ref.name}"


def _at(message: str, where: str) -> str:
    return f"{message} ({where})" if where else message

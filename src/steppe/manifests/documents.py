"""Decoded documents, and which object each of them is; Lists are expanded.

Kinds are identified with their API group, because other projects have Services and NetworkPolicies
too.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from steppe.kube.cause import ObjectRef
from steppe.kube.kinds import group_in, is_cluster_wide

Json = dict[str, Any]
Objects = dict[ObjectRef, Json]
Shape = TypeVar("Shape", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True):
    """A decoded document, and the file and line it was read from, "" if not known.

    `fault`: why it could not be decoded; `content` is then what a glance at its text tells, or
    None. `twice`: keys that it gives twice. `admitted`: an API server has it, so it is not checked.
    """

    content: Any
    where: str = ""
    fault: str = ""
    twice: tuple[str, ...] = ()
    admitted: bool = False


class _Metadata(msgspec.Struct, frozen=True):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct, frozen=True):
    metadata: _Metadata


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


def in_its_namespace(document: Json, ref: ObjectRef) -> Json:
    metadata = document["metadata"]
    if (metadata.get("namespace") or "") == ref.namespace:
        return document
    return document | {"metadata": metadata | {"namespace": ref.namespace}}


def opened(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Every document that is not empty, with Lists replaced by their items."""
    for manifest in manifests:
        content = manifest.content
        if content is None and not manifest.fault:
            continue
        kind = str(content.get("kind", "")) if isinstance(content, dict) else ""
        items = content.get("items") if kind.endswith("List") else None
        if isinstance(items, list):
            within = (_of_list(item, content) for item in items)
            yield from opened(msgspec.structs.replace(manifest, content=c) for c in within)
        elif items is not None or not kind.endswith("List"):
            yield manifest


def _of_list(item: Any, around: Json) -> Any:
    """A List's item as a document of its own: servers leave out kind and version in items."""
    kind = str(around["kind"]).removesuffix("List")
    if not isinstance(item, dict) or not kind:
        return item
    return {"apiVersion": around.get("apiVersion"), "kind": kind} | item


def kind_of(content: Any) -> tuple[str, str]:
    """The document's kind, and what is wrong if it has none."""
    if not isinstance(content, dict):
        return "", "is no Kubernetes object (a mapping with apiVersion, kind and metadata)"
    kind = content.get("kind")
    if not isinstance(kind, str) or not kind:
        return "", "has no kind"
    return kind, ""

"""Applies changed manifests to the objects of a cluster: the objects after the change.

An object of the change replaces the object of the same name, or deletes it. As on a server: what
was allocated for an object is kept (its node, its addresses); objects that a deleted object owns,
or that are in a deleted namespace, are deleted too; running pods get the labels of their workload's
new template. If pods of a workload run already, a change of `replicas` is ignored.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from steppe.kube.cause import ObjectRef
from steppe.kube.kinds import group_in
from steppe.manifests.documents import Json, Objects, labels_of, readable
from steppe.manifests.templates import WORKLOADS
from steppe.reach.names import workloads_of

_DECIDED: Mapping[str, tuple[str, ...]] = {
    "Pod": ("nodeName",),
    "Node": ("podCIDR", "podCIDRs"),
    "Service": ("clusterIP", "clusterIPs", "ipFamilies"),
}
"""Fields of `spec` that a server allocates if a manifest has none."""


class Changed(msgspec.Struct, frozen=True):
    """The objects after a change, and the objects to delete that do not exist."""

    objects: Objects
    missing: tuple[ObjectRef, ...] = ()


class _Template(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] = {}


class _Spec(msgspec.Struct, frozen=True):
    template: _Template = _Template()


class _Workload(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class _Owner(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str | None = None
    kind: str = ""
    name: str = ""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    owner_references: tuple[_Owner, ...] | None = None


class _Owned(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


def applied(base: Objects, change: Objects) -> Changed:
    """The objects after those of the change are applied."""
    after = dict(base)
    for ref, document in change.items():
        after[ref] = _kept(base[ref], document, ref.kind) if ref in base else document
    after.update(_relabelled(base, change))
    return Changed(after)


def deleted(base: Objects, change: Iterable[ObjectRef]) -> Changed:
    """The objects without those of the change and without their dependents."""
    gone = set(change)
    missing = tuple(sorted(gone - base.keys()))
    spaces = {ref.name for ref in gone if ref.kind == "Namespace"}
    gone |= {ref for ref in base if ref.namespace in spaces}
    while more := {ref for ref in base.keys() - gone if _owners(ref, base[ref]) & gone}:
        gone |= more
    return Changed({ref: document for ref, document in base.items() if ref not in gone}, missing)


def _owners(ref: ObjectRef, document: Json) -> frozenset[ObjectRef]:
    seen = readable(document, _Owned)
    owners = seen.metadata.owner_references if seen is not None else ()
    return frozenset(
        ObjectRef(owner.kind, ref.namespace, owner.name, group_in(owner.api_version, owner.kind))
        for owner in owners or ()
    )


def _kept(before: Json, after: Json, kind: str) -> Json:
    """A manifest with what the server had allocated for its old version."""
    result = dict(after)
    if "status" in before and "status" not in after:
        result["status"] = before["status"]
    old, new = before.get("spec"), after.get("spec")
    if isinstance(old, dict) and isinstance(new, dict):
        fields = {field: old[field] for field in _DECIDED.get(kind, ()) if field in old}
        result["spec"] = fields | new
    return result


def _relabelled(base: Objects, change: Objects) -> Objects:
    """The running pods of workloads whose template has new labels, with these labels."""
    workloads = workloads_of(base)
    found: Objects = {}
    for ref, document in change.items():
        if ref.kind not in WORKLOADS or ref not in base:
            continue
        old, new = _template_labels(base[ref]), _template_labels(document)
        for (namespace, name), workload in workloads.items():
            if old != new and (namespace, workload) == (ref.namespace, ref.name):
                pod = base[ObjectRef("Pod", namespace, name)]
                kept = {k: v for k, v in labels_of(pod).items() if k not in old}
                labels = {"labels": kept | new}
                found[ObjectRef("Pod", namespace, name)] = pod | {
                    "metadata": pod["metadata"] | labels
                }
    return found


def _template_labels(document: Json) -> dict[str, str]:
    seen = readable(document, _Workload)
    return dict(labels_of({"metadata": seen.spec.template.metadata})) if seen is not None else {}

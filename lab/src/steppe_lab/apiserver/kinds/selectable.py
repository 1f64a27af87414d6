"""The fields that a field selector may name, besides metadata.name and metadata.namespace."""

from steppe.admission.custom import CustomKind
from steppe.admission.model import Json, Kind
from steppe_lab.apiserver.kinds.jsonpath import find

_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT = (
    *(f"involvedObject.{name}" for name in _REFERENCE),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_PATHS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Event"): _EVENT,
    ("", "Namespace"): ("status.phase",),
    ("", "Node"): ("spec.unschedulable",),
    ("", "Pod"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("apps", "ReplicaSet"): ("status.replicas",),
    ("batch", "Job"): ("status.successful",),
}
_BOOLEAN = {"spec.unschedulable", "spec.hostNetwork"}


def selectable_fields(kind: Kind, obj: Json) -> dict[str, str]:
    """Each selectable field of an object as text; absent ones are empty."""
    meta = obj.get("metadata", {})
    fields = {"metadata.name": meta.get("name", "")}
    if kind.namespaced:
        fields["metadata.namespace"] = meta.get("namespace", "")
    if isinstance(kind, CustomKind):
        for path in kind.selectable:
            found = find(path, obj)
            fields[path.removeprefix(".")] = _text(found[0]) if found else ""
        return fields
    for path in _PATHS.get((kind.group, kind.kind), ()):
        value = obj
        for name in path.split("."):
            value = value.get(name, {}) if isinstance(value, dict) else {}
        fields[path] = ("false" if path in _BOOLEAN else "") if value == {} else _text(value)
    if (kind.group, kind.kind) == ("", "Event"):
        source = obj.get("source", {}).get("component")
        fields["source"] = source or obj.get("reportingComponent", "")
    return fields


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

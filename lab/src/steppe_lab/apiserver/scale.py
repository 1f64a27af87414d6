"""The scale subresource: autoscaling/v1 Scale as a view of an object's replicas.

Where a custom kind keeps replicas and selector is told by its definition; built-in kinds keep them
at spec.replicas, status.replicas and spec.selector.
"""

from typing import Any

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.kinds import CustomKind, Kind
from steppe_lab.apiserver.negotiation import decode_object, encode
from steppe_lab.apiserver.patch import patched
from steppe_lab.apiserver.status import bad_request, page_not_found
from steppe_lab.apiserver.store import Record
from steppe_lab.apiserver.verbs import write
from steppe_lab.apiserver.verbs.patch import patch_body

_SCALE = Kind("autoscaling", "v1", "Scale", "scales", "scale", namespaced=True)

Path = tuple[str, ...]


class Paths(msgspec.Struct, frozen=True):
    """Where a kind keeps what Scale shows."""

    replicas: Path = ("spec", "replicas")
    actual: Path = ("status", "replicas")
    selector: Path = ("spec", "selector")


def _path(text: str) -> Path:
    """A JSON path of plain fields: ".spec.replicas"."""
    return tuple(part for part in text.split(".") if part)


def paths(kind: Kind) -> Paths:
    if not isinstance(kind, CustomKind):
        return Paths()
    if kind.scale is None:
        raise page_not_found()
    return Paths(
        _path(kind.scale.spec_replicas),
        _path(kind.scale.status_replicas),
        _path(kind.scale.label_selector),
    )


def _at(obj: Json, path: Path) -> Any:
    found: Any = obj
    for field in path:
        found = found.get(field) if isinstance(found, dict) else None
    return found if path else None


def _selector_text(selector: Any) -> str:
    """A selector as text, which is how Scale carries it."""
    if not isinstance(selector, dict):
        return str(selector or "")
    labels = selector.get("matchLabels") if "matchLabels" in selector else selector
    if "matchExpressions" in selector:
        labels = selector.get("matchLabels") or {}
    parts = [f"{key}={value}" for key, value in sorted((labels or {}).items())]
    for entry in selector.get("matchExpressions") or []:
        values = f"({','.join(entry.get('values') or ())})"
        match entry["operator"]:
            case "In":
                parts.append(f"{entry['key']} in {values}")
            case "NotIn":
                parts.append(f"{entry['key']} notin {values}")
            case "Exists":
                parts.append(entry["key"])
            case _:
                parts.append(f"!{entry['key']}")
    return ",".join(parts)


def view(record: Record, where: Paths) -> Json:
    metadata = record.object["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": _at(record.object, where.actual) or 0}
    selector = _selector_text(_at(record.object, where.selector))
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": _at(record.object, where.replicas) or 0},
        "status": status,
    }


def get(api: Api, call: Call) -> Reply:
    target = call.target
    record = api.find(target.kind, target.namespace, target.name)
    return _reply(call, view(record, paths(target.kind)))


def update(api: Api, call: Call) -> Reply:
    return _store(api, call, decode_object(call.body, call.content_type))


def patch(api: Api, call: Call) -> Reply:
    target = call.target
    record = api.find(target.kind, target.namespace, target.name)
    new = patched(
        _SCALE,
        original=view(record, paths(target.kind)),
        body=patch_body(call.body),
        media_type=call.content_type.partition(";")[0].strip(),
    )
    return _store(api, call, new)


def _store(api: Api, call: Call, scale: Json) -> Reply:
    """Write the replicas of a Scale to where its object keeps them."""
    target = call.target
    where = paths(target.kind)
    current = api.find(target.kind, target.namespace, target.name)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request("spec.replicas must be a number that is not negative")
    write.check_preconditions(target.kind, current, scale.get("metadata") or {})
    new = current.copy()
    place = new
    for field in where.replicas[:-1]:
        place = place.setdefault(field, {})
    place[where.replicas[-1]] = replicas
    record = write.replace(api, call, current, new)
    return _reply(call, view(record, where))


def _reply(call: Call, scale: Json) -> Reply:
    # A Scale has no columns of its own: whoever asks for a Table takes the object instead.
    return Reply(encode(scale, call.form.media_type), media_type=call.form.media_type)

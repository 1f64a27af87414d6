"""Admission of a built-in object: decode, keep apart spec and status, default, validate."""

from steppe.admission.defaults import DEFAULTS
from steppe.admission.defaults.network import service_after
from steppe.admission.model import Admitted, Context, FieldError, Json, Kind
from steppe.admission.schema import Report, decode
from steppe.admission.validate import RULES, UPDATE_RULES, WARNINGS
from steppe.admission.validate.fields import Errors
from steppe.admission.validate.meta import metadata

# A kubelet registers a Node together with its status.
_STATUS_ON_CREATE = {("", "Node"), ("apiextensions.k8s.io", "CustomResourceDefinition")}
# Subresources that may change what an ordinary update may not.
_FREE = ("binding", "finalize", "ephemeralcontainers", "resize")


def create(kind: Kind, obj: Json, context: Context) -> Admitted:
    """The object as it will be stored, if there are no errors."""
    new, report = decode(kind, obj)
    if report.errors:
        return Admitted(new, report.errors, [])
    key = (kind.group, kind.kind)
    if "status" in kind.subresources and key not in _STATUS_ON_CREATE:
        new.pop("status", None)
    return _admitted(kind, new, context)


def update(kind: Kind, old: Json, new: Json, subresource: str, context: Context) -> Admitted:
    """The object as it will be stored: only `subresource` of it may differ from the old one."""
    new, report = decode(kind, new)
    if report.errors:
        return Admitted(new, report.errors, [])
    key = (kind.group, kind.kind)
    if subresource == "status":
        return _status_update(kind, old, new)
    if "status" in kind.subresources:
        _take(new, old, "status")
    if key == ("", "Namespace") and "spec" not in new:
        _take(new, old, "spec")  # a namespace's finalizers go by its finalize subresource only
    elif key == ("", "Service"):
        DEFAULTS[key](new)
        service_after(old, new)
    found = _admitted(kind, new, context)
    rule = UPDATE_RULES.get(key)
    # The old object may have been stored before a field had its default.
    if rule is not None and subresource not in _FREE and not found.errors:
        errors = Errors()
        rule(errors, old, found.object)
        return Admitted(found.object, errors.found, found.warnings)
    return found


def check(kind: Kind, obj: Json) -> tuple[list[FieldError], Report]:
    """What is wrong with an object that somebody wrote down, whole with its status."""
    new, report = decode(kind, obj)
    if report.errors:
        return report.errors, report
    return _admitted(kind, new, Context()).errors, report


def check_update(kind: Kind, old: Json, new: Json) -> list[FieldError]:
    """What of an object may not change any more; both are without faults of their own."""
    rule = UPDATE_RULES.get((kind.group, kind.kind))
    if rule is None:
        return []
    errors = Errors()
    rule(errors, _defaulted(kind, old), _defaulted(kind, new))
    return errors.found


def _defaulted(kind: Kind, obj: Json) -> Json:
    return _admitted(kind, decode(kind, obj)[0], Context()).object


def _admitted(kind: Kind, new: Json, context: Context) -> Admitted:
    key = (kind.group, kind.kind)
    new["apiVersion"], new["kind"] = kind.api_version, kind.kind
    meta = new.setdefault("metadata", {})
    fill = DEFAULTS.get(key)
    if fill is not None:
        fill(new)
    errors = Errors()
    metadata(errors, kind, meta)
    rule = RULES.get(key)
    if rule is not None:
        rule(errors, new, context)
    warn = WARNINGS.get(key)
    warnings = warn(new) if warn is not None and not errors.found else []
    return Admitted(new, errors.found, warnings)


def _status_update(kind: Kind, old: Json, new: Json) -> Admitted:
    """All but status, labels, annotations and the like stays as it was."""
    changed = {**old, "metadata": new.get("metadata", {}), "status": new.get("status", {})}
    changed["apiVersion"], changed["kind"] = kind.api_version, kind.kind
    fill = DEFAULTS.get((kind.group, kind.kind))
    if fill is not None:
        changed, _ = decode(kind, changed)
        fill(changed)
    errors = Errors()
    metadata(errors, kind, changed["metadata"])
    return Admitted(changed, errors.found, [])


def _take(new: Json, old: Json, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)

"""Names, labels, annotations, owners and finalizers; label selectors."""

from collections.abc import Callable, Sequence

from steppe.admission.model import Json, Kind
from steppe.admission.validate.fields import (
    Errors,
    is_label,
    is_label_1035,
    is_label_value,
    is_qualified_name,
    is_subdomain,
    labels,
)

_ANNOTATIONS_LIMIT = 256 * 1024


def _path_segment(name: str) -> list[str]:
    """RBAC names may hold anything that fits in a URL's path."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in name]


_NAME_RULES: dict[tuple[str, str], Callable[[str], Sequence[str]]] = {
    ("", "Namespace"): is_label,
    ("", "Service"): is_label_1035,
    ("rbac.authorization.k8s.io", "Role"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRole"): _path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): _path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _path_segment,
}


def metadata(errors: Errors, kind: Kind, meta: Json) -> None:
    """ValidateObjectMeta."""
    rule = _NAME_RULES.get((kind.group, kind.kind), is_subdomain)
    _names(errors, kind, meta, rule)
    if "labels" in meta:
        labels(errors, "metadata.labels", meta["labels"])
    if "annotations" in meta:
        annotations(errors, meta["annotations"])
    for index, finalizer in enumerate(meta.get("finalizers", ())):
        for message in is_qualified_name(finalizer):
            errors.invalid(f"metadata.finalizers[{index}]", finalizer, message)
    if "ownerReferences" in meta:
        _owners(errors, meta["ownerReferences"])


def _names(errors: Errors, kind: Kind, meta: Json, rule: Callable[[str], Sequence[str]]) -> None:
    name = meta.get("name", "")
    if meta.get("generateName"):
        # The server appends a random suffix, so a trailing "-" is fine.
        for message in rule(meta["generateName"].rstrip("-") or "-"):
            errors.invalid("metadata.generateName", meta["generateName"], message)
    if name:
        for message in rule(name):
            errors.invalid("metadata.name", name, message)
    elif not meta.get("generateName"):
        errors.required("metadata.name", "name or generateName is required")
    if kind.namespaced and meta.get("namespace"):
        for message in is_label(meta["namespace"]):
            errors.invalid("metadata.namespace", meta["namespace"], message)
    elif meta.get("namespace"):
        errors.forbidden("metadata.namespace", "not allowed on this type")


def annotations(errors: Errors, values: Json) -> None:
    for key in values:
        for message in is_qualified_name(key.lower()):
            errors.invalid("metadata.annotations", key, message)
    if sum(len(key) + len(value) for key, value in values.items()) > _ANNOTATIONS_LIMIT:
        errors.too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _owners(errors: Errors, owners: list[Json]) -> None:
    controllers = [owner for owner in owners if owner.get("controller")]
    for index, owner in enumerate(owners):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                errors.invalid(
                    f"metadata.ownerReferences[{index}].{name}",
                    owner.get(name, ""),
                    "must not be empty" if name in ("kind", "name", "uid") else "version is empty",
                )
    if len(controllers) > 1:
        errors.invalid(
            "metadata.ownerReferences",
            owners,
            "Only one reference can have Controller set to true. Found "
            f'"true" in references for {controllers[0].get("kind")}/{controllers[0].get("name")} '
            f"and {controllers[1].get('kind')}/{controllers[1].get('name')}",
        )


def selector(errors: Errors, field: str, value: Json) -> None:
    """A metav1.LabelSelector."""
    if "matchLabels" in value:
        labels(errors, f"{field}.matchLabels", value["matchLabels"])
    for index, term in enumerate(value.get("matchExpressions", ())):
        where = f"{field}.matchExpressions[{index}]"
        operator, values = term.get("operator", ""), term.get("values", [])
        if operator in ("In", "NotIn"):
            if not values:
                errors.required(
                    f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.forbidden(
                    f"{where}.values",
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )
        else:
            errors.invalid(f"{where}.operator", operator, "not a valid selector operator")
        for message in is_qualified_name(term.get("key", "")):
            errors.invalid(f"{where}.key", term.get("key", ""), message)
        for number, item in enumerate(values):
            for message in is_label_value(item):
                errors.invalid(f"{where}.values[{number}]", item, message)


def selector_matches(value: Json, of: Json) -> bool:
    """Whether a valid label selector selects these labels."""
    for key, wanted in value.get("matchLabels", {}).items():
        if of.get(key) != wanted:
            return False
    for term in value.get("matchExpressions", ()):
        key, has = term["key"], term["key"] in of
        inside = has and of[key] in term.get("values", ())
        fits = {"In": inside, "NotIn": not inside, "Exists": has, "DoesNotExist": not has}
        if not fits.get(term["operator"], False):
            return False
    return True

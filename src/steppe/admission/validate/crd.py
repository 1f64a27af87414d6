"""CustomResourceDefinitions: names, versions, and schemas that are structural.

Whether another definition already holds the names is the server's to know.
"""

import re

from steppe.admission.model import Json
from steppe.admission.rules import not_enforced
from steppe.admission.validate.fields import Errors, is_label_1035, is_subdomain

_VERSION = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_TYPES = ("array", "boolean", "integer", "number", "object", "string")


def definition(errors: Errors, obj: Json) -> None:
    spec, name = obj["spec"], obj.get("metadata", {}).get("name", "")
    names = spec["names"]
    group, plural = spec.get("group", ""), names.get("plural", "")
    if not group:
        errors.required("spec.group")
    for message in is_subdomain(group) if group else ():
        errors.invalid("spec.group", group, message)
    if name != f"{plural}.{group}":
        errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    errors.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    for field in ("plural", "singular", "kind", "listKind"):
        text = names.get(field, "")
        if not text:
            errors.required(f"spec.names.{field}")
        for message in is_label_1035(text.lower()) if text else ():
            errors.invalid(f"spec.names.{field}", text, message)
    if names.get("kind") and names["kind"] == names.get("listKind"):
        errors.invalid(
            "spec.names.listKind", names["listKind"], "kind and listKind may not be the same"
        )
    _versions(errors, spec.get("versions", []))


def _versions(errors: Errors, versions: list[Json]) -> None:
    if not versions:
        errors.required("spec.versions", "must have at least one version")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        where, name = f"spec.versions[{index}]", version.get("name", "")
        if not _VERSION.fullmatch(name):
            errors.invalid(f"{where}.name", name, "must be a DNS-1035 label")
        if name in seen:
            errors.duplicate(f"{where}.name", name)
        seen.add(name)
        schema = version.get("schema", {}).get("openAPIV3Schema")
        if schema is None:
            errors.required(f"{where}.schema.openAPIV3Schema", "schemas are required")
        else:
            at = f"{where}.schema.openAPIV3Schema"
            if schema.get("type") != "object":
                errors.invalid(f"{at}.type", schema.get("type", ""), "must be object at the root")
            _structural(errors, at, schema)
    if sum(1 for version in versions if version.get("storage")) != 1:
        errors.invalid(
            "spec.versions", versions, "must have exactly one version marked as storage version"
        )


def _structural(errors: Errors, at: str, schema: Json) -> None:
    """Every node must say its type, and may not both list and admit any properties."""
    free = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if not schema.get("type") and not free:
        errors.required(f"{at}.type", "must not be empty for specified object fields")
    elif schema.get("type") and schema["type"] not in _TYPES:
        errors.unsupported(f"{at}.type", schema["type"], _TYPES)
    if schema.get("properties") and schema.get("additionalProperties"):
        errors.forbidden(f"{at}.additionalProperties", "must not be used together with properties")
    for name, child in schema.get("properties", {}).items():
        _structural(errors, f"{at}.properties[{name}]", child)
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            _structural(errors, f"{at}.{field}", schema[field])
    for index, item in enumerate(schema.get("x-kubernetes-validations", ())):
        if not item.get("rule", "").strip():
            errors.required(f"{at}.x-kubernetes-validations[{index}].rule", "rule is not specified")
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") == "map" and not keys:
        errors.required(f"{at}.x-kubernetes-list-map-keys", "must not be empty if listType is map")


def definition_warnings(obj: Json) -> list[str]:
    return [
        warning
        for index, version in enumerate(obj["spec"].get("versions", ()))
        for warning in not_enforced(
            version.get("schema", {}).get("openAPIV3Schema", {}),
            f"spec.versions[{index}].schema.openAPIV3Schema",
        )
    ]


def definition_update(errors: Errors, old: Json, new: Json) -> None:
    before, after = old["spec"], new["spec"]
    errors.immutable("spec.group", before.get("group"), after.get("group"))
    errors.immutable("spec.scope", before.get("scope"), after.get("scope"))
    for name in ("plural", "kind"):
        errors.immutable(f"spec.names.{name}", before["names"].get(name), after["names"].get(name))

"""Nodes, ConfigMaps, Secrets, Events, Leases, and role bindings."""

import base64
import binascii
import re

from steppe.admission.model import Json
from steppe.admission.validate.fields import (
    IMMUTABLE,
    Errors,
    is_label_value,
    is_qualified_name,
    network,
)

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_LIMIT = 1024 * 1024
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def node(errors: Errors, obj: Json) -> None:
    spec = obj["spec"]
    cidrs = spec.get("podCIDRs", [])
    found = [network(errors, f"spec.podCIDRs[{i}]", text) for i, text in enumerate(cidrs)]
    versions = [item.version for item in found if item is not None]
    if len(cidrs) > 2 or len(set(versions)) < len(versions):
        errors.invalid(
            "spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"
        )
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints", ())):
        where = f"spec.taints[{index}]"
        for message in is_qualified_name(taint.get("key", "")):
            errors.invalid(f"{where}.key", taint.get("key", ""), message)
        for message in is_label_value(taint.get("value", "")):
            errors.invalid(f"{where}.value", taint["value"], message)
        errors.one_of(f"{where}.effect", taint.get("effect"), _EFFECTS)
        key = (taint.get("key", ""), taint.get("effect", ""))
        if key in seen:
            errors.duplicate(where, taint)
        seen.add(key)


def node_update(errors: Errors, old: Json, new: Json) -> None:
    """Pod CIDRs are for life: "podCIDRs: may not change once set"."""
    before, after = old.get("spec", {}), new["spec"]
    if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
        errors.forbidden(
            "spec.podCIDRs",
            'node updates may not change podCIDR except from "" to valid',
        )
    if before.get("providerID") and before["providerID"] != after.get("providerID"):
        errors.forbidden(
            "spec.providerID", 'node updates may not change providerID except from "" to valid'
        )


def config_map(errors: Errors, obj: Json) -> None:
    text, binary = obj.get("data", {}), obj.get("binaryData", {})
    for name, values in (("data", text), ("binaryData", binary)):
        _keys(errors, name, values)
    for key in text:
        if key in binary:
            errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    _bytes(errors, "binaryData", binary)
    if sum(map(len, text.values())) + sum(map(len, binary.values())) > _LIMIT:
        errors.too_long("", _LIMIT)


def secret(errors: Errors, obj: Json) -> None:
    data = obj.get("data", {})
    _keys(errors, "data", data)
    _bytes(errors, "data", data)
    wanted = {
        "kubernetes.io/tls": ("tls.crt", "tls.key"),
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    }.get(obj.get("type", ""), ())
    for key in wanted:
        if key not in data:
            errors.required(f"data[{key}]")
    if sum(map(len, data.values())) > _LIMIT * 4 // 3:
        errors.too_long("data", _LIMIT)


def _keys(errors: Errors, at: str, values: Json) -> None:
    for key in values:
        if not _KEY.fullmatch(key) or key in (".", "..") or len(key) > 253:
            errors.invalid(f"{at}[{key}]", key, _KEY_MESSAGE)


def _bytes(errors: Errors, at: str, values: Json) -> None:
    for key, text in values.items():
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            errors.invalid(f"{at}[{key}]", text, "illegal base64 data")


def _data_update(errors: Errors, old: Json, new: Json) -> None:
    if not old.get("immutable"):
        return
    message = f"{IMMUTABLE} when `immutable` is set"
    if not new.get("immutable"):
        errors.forbidden("immutable", message)
    for name in ("data", "binaryData"):
        if old.get(name, {}) != new.get(name, {}):
            errors.forbidden(name, message)


def config_map_update(errors: Errors, old: Json, new: Json) -> None:
    _data_update(errors, old, new)


def secret_update(errors: Errors, old: Json, new: Json) -> None:
    _data_update(errors, old, new)
    errors.immutable("type", old.get("type"), new.get("type"))


def event(errors: Errors, obj: Json) -> None:
    regarding: Json = obj.get("involvedObject") or obj.get("regarding") or {}
    of = regarding.get("namespace", "")
    home = obj.get("metadata", {}).get("namespace", "")
    if home and of != home and not (not of and home == "default"):
        errors.invalid("involvedObject.namespace", of, "does not match event.namespace")


def lease(errors: Errors, obj: Json) -> None:
    spec = obj.get("spec", {})
    if spec.get("leaseDurationSeconds", 1) <= 0:
        errors.invalid(
            "spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0"
        )
    if spec.get("leaseTransitions", 0) < 0:
        errors.invalid(
            "spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"
        )


def role_binding(errors: Errors, obj: Json) -> None:
    role = obj.get("roleRef", {})
    errors.one_of("roleRef.kind", role.get("kind"), ("ClusterRole", "Role"))
    if not role.get("name"):
        errors.required("roleRef.name")


def role_binding_update(errors: Errors, old: Json, new: Json) -> None:
    if old.get("roleRef") != new.get("roleRef"):
        errors.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def ingress_class_update(errors: Errors, old: Json, new: Json) -> None:
    before, after = old.get("spec", {}), new.get("spec", {})
    errors.immutable("spec.controller", before.get("controller"), after.get("controller"))

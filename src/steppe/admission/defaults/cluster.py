"""Namespaces, nodes, secrets, role bindings and custom resource definitions."""

import base64

from steppe.admission.defaults.fill import fill
from steppe.admission.model import Json

_NAME_LABEL = "kubernetes.io/metadata.name"
_RBAC = "rbac.authorization.k8s.io"


def namespace(obj: Json) -> None:
    meta = obj.setdefault("metadata", {})
    if meta.get("name"):
        meta.setdefault("labels", {})[_NAME_LABEL] = meta["name"]
    # Deleting a namespace takes this finalizer away; only creation gives it.
    if not meta.get("deletionTimestamp") and "spec" not in obj:
        obj["spec"] = {"finalizers": ["kubernetes"]}
    fill(obj.setdefault("status", {}), phase="Active")


def node(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    elif spec.get("podCIDR"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    status = obj.setdefault("status", {})
    if "capacity" in status and "allocatable" not in status:
        status["allocatable"] = dict(status["capacity"])
    if "daemonEndpoints" not in status:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": 0}}


def secret(obj: Json) -> None:
    fill(obj, type="Opaque")
    # "stringData … keys and values are merged into the data field on write".
    for key, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def role_binding(obj: Json) -> None:
    fill(obj.setdefault("roleRef", {}), apiGroup=_RBAC)
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            fill(subject, apiGroup=_RBAC)


def custom_resource_definition(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        fill(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
    fill(spec.setdefault("conversion", {}), strategy="None")
    status = obj.setdefault("status", {})
    if "storedVersions" not in status:
        versions = spec.get("versions", ())
        status["storedVersions"] = [v["name"] for v in versions if v.get("storage") and "name" in v]

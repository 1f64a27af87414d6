"""Nodes, namespaces, config maps, secrets, events, leases, accounts, roles, definitions."""

from datetime import datetime
from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds.printers.cells import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Printer,
    age,
    column,
    columns,
    since,
)

_ROLE = "node-role.kubernetes.io/"


def _node(obj: Json, now: datetime) -> list[Any]:
    info = obj.get("status", {}).get("nodeInfo", {})
    labels = obj["metadata"].get("labels", {})
    roles = sorted(
        {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
        | ({labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set())
    )
    return [
        _node_status(obj),
        ",".join(roles) or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: Json) -> str:
    conditions = obj.get("status", {}).get("conditions", ())
    ready = [c.get("status") for c in conditions if c.get("type") == "Ready"]
    status = "Unknown" if not ready else "Ready" if ready[0] == "True" else "NotReady"
    cordoned = obj.get("spec", {}).get("unschedulable")
    return f"{status},SchedulingDisabled" if cordoned else status


def _node_address(obj: Json, type_: str) -> str:
    for address in obj.get("status", {}).get("addresses", ()):
        if address.get("type") == type_:
            found: str = address.get("address", "")
            return found
    return NONE


def _namespace(obj: Json, now: datetime) -> list[Any]:
    return [obj.get("status", {}).get("phase", ""), age(obj, now)]


def _config_map(obj: Json, now: datetime) -> list[Any]:
    return [len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _secret(obj: Json, now: datetime) -> list[Any]:
    return [obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _service_account(obj: Json, now: datetime) -> list[Any]:
    return [len(obj.get("secrets") or ()), age(obj, now)]


def _event(obj: Json, now: datetime) -> list[Any]:
    of: Json = obj.get("involvedObject") or obj.get("regarding") or {}
    source: Json = obj.get("source") or obj.get("deprecatedSource") or {}
    series: Json = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    target = f"{of.get('kind', '').lower()}/{of.get('name', '')}"
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        since(series.get("lastObservedTime") or last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target if of.get("name") else of.get("kind", "").lower(),
        of.get("fieldPath", ""),
        ", ".join(part for part in (component, source.get("host", "")) if part),
        (obj.get("message") or obj.get("note") or "").strip(),
        since(first, now),
        series.get("count") or count,
        obj["metadata"].get("name", ""),
    ]


def _lease(obj: Json, now: datetime) -> list[Any]:
    return [obj.get("spec", {}).get("holderIdentity") or "", age(obj, now)]


def _created(obj: Json, _now: datetime) -> list[Any]:
    return [obj["metadata"].get("creationTimestamp", UNKNOWN)]


def _binding(obj: Json, now: datetime) -> list[Any]:
    role = obj.get("roleRef", {})
    subjects = obj.get("subjects", ())
    return [
        f"{role.get('kind')}/{role.get('name')}",
        age(obj, now),
        ", ".join(s["name"] for s in subjects if s["kind"] == "User"),
        ", ".join(s["name"] for s in subjects if s["kind"] == "Group"),
        ", ".join(
            f"{s.get('namespace')}/{s['name']}" for s in subjects if s["kind"] == "ServiceAccount"
        ),
    ]


_EVENT = Printer(
    (
        *(column(name) for name in ("Last Seen", "Type", "Reason", "Object")),
        *(column(name, "string", 1) for name in ("Subobject", "Source")),
        column("Message"),
        *(column(name, "string", 1) for name in ("First Seen", "Count", "Name")),
    ),
    _event,
    named=False,
)
_BINDING = Printer(columns("Role", "Age", wide=("Users", "Groups", "ServiceAccounts")), _binding)
_RBAC = "rbac.authorization.k8s.io"
_CREATED = Printer((NAME, column("Created At", "date")), _created)

PRINTERS = {
    ("", "Node"): Printer(
        columns(
            "Status",
            "Roles",
            "Age",
            "Version",
            wide=(
                "Internal-IP",
                "External-IP",
                "OS-Image",
                "Kernel-Version",
                "Container-Runtime",
            ),
        ),
        _node,
    ),
    ("", "Namespace"): Printer(columns("Status", "Age"), _namespace),
    ("", "ConfigMap"): Printer((NAME, column("Data"), AGE), _config_map),
    ("", "Secret"): Printer((NAME, column("Type"), column("Data"), AGE), _secret),
    ("", "ServiceAccount"): Printer((NAME, column("Secrets"), AGE), _service_account),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("coordination.k8s.io", "Lease"): Printer(columns("Holder", "Age"), _lease),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _CREATED,
    (_RBAC, "Role"): _CREATED,
    (_RBAC, "ClusterRole"): _CREATED,
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
}

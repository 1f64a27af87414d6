"""Short ways to write down the objects that the tables are about."""

from typing import Any

import msgspec

from steppe_lab.controllers.objects import (
    Condition,
    Deployment,
    Endpoint,
    EndpointSlice,
    Node,
    Pod,
    ReplicaSet,
    Service,
    Taint,
)


def ready(status: str = "True", since: str | None = None) -> tuple[Condition, ...]:
    return (Condition("Ready", status, last_transition_time=since),)


def node(name: str, *taints: Taint, labels: dict[str, str] | None = None, **fields: Any) -> Node:
    body = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | (labels or {})},
        "spec": {"taints": [msgspec.to_builtins(t) for t in taints]} | fields.pop("spec", {}),
        "status": {"conditions": [{"type": "Ready", "status": fields.pop("ready", "True")}]},
    }
    return msgspec.convert(body | fields, Node)


def pod(name: str, *, owner: str = "", **fields: Any) -> Pod:
    """A pod; `ready`, `ip`, `node`, `phase`, `labels`, `spec` and metadata fields may be given."""
    meta = {"name": name, "namespace": "ns", "uid": fields.pop("uid", f"uid-{name}")}
    if owner:
        meta["ownerReferences"] = [  # type: ignore[assignment]
            {"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}
        ]
    conditions = []
    if "ready" in fields:
        since = fields.pop("since", None)
        truth = "True" if fields.pop("ready") else "False"
        conditions.append({"type": "Ready", "status": truth, "lastTransitionTime": since})
    ips = fields.pop("ips", ())
    spec = {"nodeName": fields.pop("node", "")} | fields.pop("spec", {})
    status = {
        "phase": fields.pop("phase", "Running"),
        "conditions": conditions,
        "podIPs": [{"ip": ip} for ip in ips],
    }
    return msgspec.convert({"metadata": meta | fields, "spec": spec, "status": status}, Pod)


def replicaset(name: str, replicas: int, available: int | None = None, **fields: Any) -> ReplicaSet:
    """A ReplicaSet of the template `image`, with so many pods available."""
    there = replicas if available is None else available
    image = fields.pop("image", name)
    body = {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": fields.pop("created", name),
            "annotations": fields.pop("annotations", {}),
        },
        "spec": {"replicas": replicas, "template": template(image, **{"pod-template-hash": name})},
        "status": {"replicas": replicas, "readyReplicas": there, "availableReplicas": there},
    }
    return msgspec.convert(body, ReplicaSet)


def template(image: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"} | labels}, "spec": {"containers": [image]}}


def deployment(replicas: int, image: str = "new", **spec: Any) -> Deployment:
    status = spec.pop("status", {})
    annotations = spec.pop("annotations", {})
    body = {
        "metadata": {"name": "d", "uid": "d", "generation": 2, "annotations": annotations},
        "spec": {"replicas": replicas, "template": template(image)} | spec,
        "status": status,
    }
    return msgspec.convert(body, Deployment)


def service(**spec: Any) -> Service:
    name = spec.pop("name", "svc")
    spec = {"selector": {"app": "x"}, "ipFamilies": ["IPv4"]} | spec
    body = {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec}
    return msgspec.convert(body, Service)


def named(slices: tuple[EndpointSlice, ...]) -> list[EndpointSlice]:
    """Slices as the server gives them back: with names."""
    return [
        msgspec.structs.replace(
            s, metadata=msgspec.structs.replace(s.metadata, name=s.metadata.name or f"slice-{i}")
        )
        for i, s in enumerate(slices)
    ]


def addresses(endpoints: tuple[Endpoint, ...] | None) -> list[str]:
    return [address for endpoint in endpoints or () for address in endpoint.addresses]

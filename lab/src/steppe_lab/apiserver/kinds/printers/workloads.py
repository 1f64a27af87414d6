"""Deployments, replica sets, daemon sets, stateful sets, jobs, disruption budgets."""

from datetime import datetime
from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds.printers.cells import (
    AGE,
    NAME,
    NONE,
    Printer,
    age,
    column,
    columns,
    containers,
    duration,
    selector,
)

_WIDE = ("Containers", "Images", "Selector")


def _wide(spec: Json) -> list[Any]:
    return [*containers(spec.get("template", {})), selector(spec.get("selector"))]


def _deployment(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *_wide(spec),
    ]


def _replica_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *_wide(spec),
    ]


def _daemon_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    node_selector = spec.get("template", {}).get("spec", {}).get("nodeSelector", {})
    shown = ",".join(f"{key}={value}" for key, value in sorted(node_selector.items()))
    return [*(status.get(n, 0) for n in counts), shown or NONE, age(obj, now), *_wide(spec)]


def _stateful_set(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [ready, age(obj, now), *containers(spec.get("template", {}))]


def _job(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    true = {c["type"] for c in status.get("conditions", ()) if c.get("status") == "True"}
    state = next((s for s in ("Complete", "Failed", "Suspended") if s in true), "Running")
    done = f"{status.get('succeeded', 0)}/{spec.get('completions', spec.get('parallelism', 1))}"
    took = ""
    if status.get("startTime"):
        end = status.get("completionTime")
        until = datetime.fromisoformat(end) if end else now
        start = datetime.fromisoformat(status["startTime"])
        took = duration(int((until - start).total_seconds()))
    return [state, done, took, age(obj, now), *_wide(spec)]


def _budget(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    limits = [str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [*limits, status.get("disruptionsAllowed", 0), age(obj, now)]


def _numbers(*names: str) -> tuple[Json, ...]:
    return tuple(column(name, "integer") for name in names)


def _wide_columns(*names: str) -> tuple[Json, ...]:
    return tuple(column(name, "string", 1) for name in names)


PRINTERS = {
    ("apps", "Deployment"): Printer(
        columns("Ready", "Up-to-date", "Available", "Age", wide=_WIDE), _deployment
    ),
    ("apps", "ReplicaSet"): Printer(
        (NAME, *_numbers("Desired", "Current", "Ready"), AGE, *_wide_columns(*_WIDE)), _replica_set
    ),
    ("apps", "DaemonSet"): Printer(
        (
            NAME,
            *_numbers("Desired", "Current", "Ready", "Up-to-date", "Available"),
            column("Node Selector"),
            AGE,
            *_wide_columns(*_WIDE),
        ),
        _daemon_set,
    ),
    ("apps", "StatefulSet"): Printer(
        columns("Ready", "Age", wide=("Containers", "Images")), _stateful_set
    ),
    ("batch", "Job"): Printer(
        columns("Status", "Completions", "Duration", "Age", wide=_WIDE), _job
    ),
    ("policy", "PodDisruptionBudget"): Printer(
        columns("Min Available", "Max Unavailable", "Allowed Disruptions", "Age"), _budget
    ),
}

"""Pods: the STATUS of printPod, which looks through the phase at the containers."""

from datetime import datetime
from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds.printers.cells import NONE, Printer, age, columns, since

_UNREACHABLE = "NodeLost"


def _row(obj: Json, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    reason, ready, restarts, last = _summary(obj)
    shown = f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)
    total = len(spec.get("containers", ())) + sum(map(_is_sidecar, spec.get("initContainers", ())))
    addresses = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    return [
        f"{ready}/{total}",
        reason,
        shown,
        age(obj, now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


def _is_sidecar(container: Json) -> bool:
    return container.get("restartPolicy") == "Always"


def _gates(spec: Json, status: Json) -> str:
    gates = spec.get("readinessGates")
    if not gates:
        return NONE
    true = {c["type"] for c in status.get("conditions", ()) if c.get("status") == "True"}
    return f"{sum(gate['conditionType'] in true for gate in gates)}/{len(gates)}"


def _summary(obj: Json) -> tuple[str, int, int, str]:
    """The reason to show, ready containers, restarts, and when the last restart was."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    conditions = status.get("conditions", ())
    reason = status.get("reason") or status.get("phase", "")
    if any(
        c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in conditions
    ):
        reason = "SchedulingGated"
    starting, ready, restarts, last = _init(spec, status)
    if starting:
        reason = starting
    else:
        running = False
        for item in reversed(status.get("containerStatuses", ())):
            restarts += item.get("restartCount", 0)
            last = max(last, _last_restart(item))
            found = _container(item)
            if found:
                reason = found
            elif item.get("ready") and "running" in item.get("state", {}):
                running = True
                ready += 1
        # "change pod status back to Running if there is at least one container still reporting"
        if reason == "Completed" and running:
            is_ready = any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in conditions
            )
            reason = "Running" if is_ready else "NotReady"
    if obj.get("metadata", {}).get("deletionTimestamp"):
        if status.get("reason") == _UNREACHABLE:
            reason = "Unknown"
        elif status.get("phase") not in ("Failed", "Succeeded"):
            reason = "Terminating"
    return reason, ready, restarts, last


def _init(spec: Json, status: Json) -> tuple[str, int, int, str]:
    """Why the init containers still hold the pod back ("" if they do not), and their counts."""
    specs = {c["name"]: c for c in spec.get("initContainers", ())}
    ready, restarts, last = 0, 0, ""
    for index, item in enumerate(status.get("initContainerStatuses", ())):
        restarts += item.get("restartCount", 0)
        last = max(last, _last_restart(item))
        state = item.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting", {})
        sidecar = _is_sidecar(specs.get(item.get("name", ""), {}))
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if sidecar and item.get("started"):
            ready += 1 if item.get("ready") else 0
            continue
        if terminated is not None:
            reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(specs)}"
        return reason, ready, restarts, last
    return "", ready, restarts, last


def _container(item: Json) -> str:
    state = item.get("state", {})
    waiting: str = state.get("waiting", {}).get("reason", "")
    if waiting:
        return waiting
    return _ended(state["terminated"]) if "terminated" in state else ""


def _ended(terminated: Json) -> str:
    reason: str = terminated.get("reason", "")
    if reason:
        return reason
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _last_restart(item: Json) -> str:
    stamp: str = item.get("lastState", {}).get("terminated", {}).get("finishedAt", "")
    return stamp


PRINTERS = {
    ("", "Pod"): Printer(
        columns(
            "Ready",
            "Status",
            "Restarts",
            "Age",
            wide=("IP", "Node", "Nominated Node", "Readiness Gates"),
        ),
        _row,
    )
}

"""The PodStatus of a pod, from the states of its containers. Pure.

The rules are kubelet's: `getPhase` in pkg/kubelet/kubelet_pods.go, and pkg/kubelet/status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from steppe_lab.kubelet.records import Condition, Container, Pod, is_sidecar

Json = dict[str, Any]


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """Not running yet, or not again."""

    reason: str = "ContainerCreating"
    message: str = ""


class Running(msgspec.Struct, frozen=True, tag=True):
    """Has a process."""

    id: str
    started_at: float


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Had a process."""

    id: str
    exit_code: int
    started_at: float
    finished_at: float
    reason: str = ""
    message: str = ""


class View(msgspec.Struct, frozen=True):
    """One container as its status shows it."""

    state: Waiting | Running | Ended = Waiting()
    last: Ended | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False


class Seen(msgspec.Struct, frozen=True):
    """Everything about a pod that its status depends on."""

    views: Mapping[str, View]
    addresses: tuple[str, ...] = ()
    host_addresses: tuple[str, ...] = ()
    sandbox_ready: bool = False
    started_at: float = 0.0
    # Nothing of it runs any more, and nothing will: it was deleted, or all of it ended.
    terminal: bool = False

    def view(self, container: Container) -> View:
        return self.views.get(container.name, View())


def should_restart(pod_policy: str, *, init: bool, sidecar: bool, exit_code: int) -> bool:
    """Whether a container that ended is started again."""
    if sidecar:
        return True
    if init:
        # "if the Pod has a restartPolicy of Never, and an init container fails … the overall Pod
        # [is treated] as failed"; with the other policies it is repeated until it succeeds.
        return exit_code != 0 and pod_policy != "Never"
    return pod_policy == "Always" or (pod_policy == "OnFailure" and exit_code != 0)


def pod_status(pod: Pod, seen: Seen, now: float) -> Json:
    """The status a kubelet writes."""
    status: Json = {
        "phase": phase(pod, seen),
        "conditions": _conditions(pod, seen, now),
        "startTime": timestamp(seen.started_at),
        "containerStatuses": [
            _container_status(one, seen.view(one)) for one in pod.spec.containers
        ],
    }
    if pod.spec.init_containers:
        status["initContainerStatuses"] = [
            _container_status(one, seen.view(one)) for one in pod.spec.init_containers
        ]
    if seen.host_addresses:
        status["hostIP"] = seen.host_addresses[0]
        status["hostIPs"] = [{"ip": address} for address in seen.host_addresses]
    if seen.addresses:
        status["podIP"] = seen.addresses[0]
        status["podIPs"] = [{"ip": address} for address in seen.addresses]
    return status


def initialized(pod: Pod, seen: Seen) -> bool:
    """Whether every init container is done, and every sidecar has started."""
    return all(_init_done(one, seen.view(one)) for one in pod.spec.init_containers)


def _init_done(container: Container, view: View) -> bool:
    if is_sidecar(container):
        return view.started
    return isinstance(view.state, Ended) and view.state.exit_code == 0


def phase(pod: Pod, seen: Seen) -> str:
    """Pending, Running, Succeeded or Failed."""
    main = [seen.view(one) for one in pod.spec.containers]
    ended = [view.state for view in main if isinstance(view.state, Ended)]
    all_fine = len(ended) == len(main) and all(one.exit_code == 0 for one in ended)
    if seen.terminal:
        return "Succeeded" if all_fine else "Failed"
    if not initialized(pod, seen):
        return "Failed" if _init_failed(pod, seen) else "Pending"
    running = sum(isinstance(view.state, Running) for view in main)
    # A container that waits for its next start counts as stopped, not as new.
    if len(ended) + running + sum(_waits_again(view) for view in main) < len(main):
        return "Pending"
    if running or pod.spec.restart_policy == "Always":
        return "Running"
    if all_fine:
        return "Succeeded"
    return "Failed" if pod.spec.restart_policy == "Never" else "Running"


def _init_failed(pod: Pod, seen: Seen) -> bool:
    if pod.spec.restart_policy != "Never":
        return False
    states = [seen.view(one).state for one in pod.spec.init_containers if not is_sidecar(one)]
    return any(isinstance(state, Ended) and state.exit_code != 0 for state in states)


def _waits_again(view: View) -> bool:
    return isinstance(view.state, Waiting) and view.last is not None


def _conditions(pod: Pod, seen: Seen, now: float) -> list[Json]:
    """Our conditions; a strategic merge leaves those of others, the readiness gates, alone."""
    completed = phase(pod, seen) == "Succeeded"
    unready = [
        one.name
        for one in (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers)
        if not seen.view(one).ready
    ]
    todo = [o.name for o in pod.spec.init_containers if not _init_done(o, seen.view(o))]
    gates = {one.type: one.status for one in pod.status.conditions}
    closed = [
        gate.condition_type
        for gate in pod.spec.readiness_gates
        if gates.get(gate.condition_type) != "True"
    ]
    return [
        _condition(pod, now, "PodReadyToStartContainers", holds=seen.sandbox_ready),
        _initialized_condition(pod, now, todo, completed=completed),
        _ready_condition(pod, now, "Ready", unready, closed, completed=completed),
        _ready_condition(pod, now, "ContainersReady", unready, [], completed=completed),
        _condition(pod, now, "PodScheduled", holds=True),
    ]


def _initialized_condition(pod: Pod, now: float, todo: list[str], *, completed: bool) -> Json:
    if todo and not completed:
        message = f"containers with incomplete status: [{' '.join(todo)}]"
        return _condition(
            pod, now, "Initialized", holds=False, reason="ContainersNotInitialized", message=message
        )
    reason = "PodCompleted" if completed else ""
    return _condition(pod, now, "Initialized", holds=True, reason=reason)


def _ready_condition(
    pod: Pod, now: float, kind: str, unready: list[str], closed: list[str], *, completed: bool
) -> Json:
    if completed:
        return _condition(pod, now, kind, holds=False, reason="PodCompleted")
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition(pod, now, kind, holds=False, reason="ContainersNotReady", message=message)
    if closed:
        message = f"corresponding condition of pod readiness gate {closed[0]!r} is not True"
        return _condition(
            pod, now, kind, holds=False, reason="ReadinessGatesNotReady", message=message
        )
    return _condition(pod, now, kind, holds=True)


def _condition(
    pod: Pod, now: float, kind: str, *, holds: bool, reason: str = "", message: str = ""
) -> Json:
    value = "True" if holds else "False"
    before = next((one for one in pod.status.conditions if one.type == kind), Condition(type=kind))
    since = before.last_transition_time if before.status == value else None
    # Without a value a merge patch deletes the key: an old reason does not outlive its cause.
    return {
        "type": kind,
        "status": value,
        "reason": reason or None,
        "message": message or None,
        "lastTransitionTime": since or timestamp(now),
    }


def _container_status(container: Container, view: View) -> Json:
    status: Json = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "state": _state(view.state),
        "lastState": _state(view.last) if view.last is not None else {},
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
    }
    if isinstance(view.state, Running | Ended):
        status["containerID"] = f"steppe://{view.state.id}"
    elif view.last is not None:
        status["containerID"] = f"steppe://{view.last.id}"
    return status


def _state(state: Waiting | Running | Ended) -> Json:
    match state:
        case Waiting():
            said = {"reason": state.reason} | ({"message": state.message} if state.message else {})
            return {"waiting": said}
        case Running():
            return {"running": {"startedAt": timestamp(state.started_at)}}
        case Ended():
            ended: Json = {
                "exitCode": state.exit_code,
                "reason": state.reason or ("Completed" if state.exit_code == 0 else "Error"),
                "startedAt": timestamp(state.started_at),
                "finishedAt": timestamp(state.finished_at),
                "containerID": f"steppe://{state.id}",
            }
            return {"terminated": ended | ({"message": state.message} if state.message else {})}


def timestamp(seconds: float) -> str:
    """metav1.Time: RFC 3339 to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

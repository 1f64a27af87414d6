"""What a Deployment should do next with its ReplicaSets. Pure.

Follows kubernetes/pkg/controller/deployment: one step of a rollout at a time, each from what is
observed alone, so that it does not matter how often or when it is asked.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from steppe_lab.controllers.objects import (
    Condition,
    Deployment,
    DeploymentStatus,
    ReplicaSet,
    Template,
    condition,
)
from steppe_lab.controllers.podcontrol import parse_time, timestamp

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
# Annotations of a Deployment that say nothing of its ReplicaSets.
NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAX})


def percent(value: int | str | None, total: int, *, up: bool) -> int:
    """An IntOrString: a number, or a percentage of the total."""
    if value is None:
        value = "25%"
    if isinstance(value, int):
        return value
    try:
        part = int(value.rstrip("%")) * total
    except ValueError:
        return 0
    return -(-part // 100) if up else part // 100


def limits(deployment: Deployment) -> tuple[int, int]:
    """The numbers of pods for maxSurge and maxUnavailable of a rollout."""
    spec = deployment.spec
    if spec.strategy.type == "Recreate":
        return 0, spec.replicas
    rolling = spec.strategy.rolling_update
    surge = percent(rolling.max_surge if rolling else None, spec.replicas, up=True)
    missing = percent(rolling.max_unavailable if rolling else None, spec.replicas, up=False)
    # "This can not be 0 if MaxSurge is 0": validation stops that, but percentages may round to it.
    if surge == 0 and missing == 0:
        missing = 1
    return surge, min(missing, spec.replicas)


def same_template(left: Template, right: Template) -> bool:
    """Whether two templates differ in no more than the hash label that we add."""
    return _bare(left) == _bare(right)


def _bare(template: Template) -> Template:
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def newest(deployment: Deployment, sets: list[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet with the Deployment's own template; the oldest, if there are twins."""
    same = [rs for rs in sets if same_template(rs.spec.template, deployment.spec.template)]
    return min(same, key=_age, default=None)


def revision(annotations: Mapping[str, str]) -> int:
    text = annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def next_revision(new: ReplicaSet | None, sets: list[ReplicaSet]) -> int:
    """The new ReplicaSet's revision: above that of all others, which a rollback moves it past."""
    uid = new.metadata.uid if new else ""
    others = [revision(rs.metadata.annotations) for rs in sets if rs.metadata.uid != uid]
    highest = max(others, default=0)
    own = revision(new.metadata.annotations) if new else 0
    return own if own > highest else highest + 1


def scales(
    deployment: Deployment, new: ReplicaSet | None, old: list[ReplicaSet], old_pods: int
) -> dict[str, int]:
    """The ReplicaSets (by name) whose size changes now."""
    wanted = deployment.spec.replicas
    if deployment.spec.paused:
        return _proportional(deployment, [*old, *([new] if new else [])])
    if new is None:
        return {}
    if deployment.spec.strategy.type == "Recreate":
        if any(rs.spec.replicas for rs in old):
            return {rs.metadata.name: 0 for rs in old if rs.spec.replicas}
        # "all existing pods are killed before new ones are created"
        return _resize(new, new.spec.replicas if old_pods else wanted)
    if grown := _grown(deployment, new, old):
        return grown
    return _shrunk(deployment, new, old)


def _resize(rs: ReplicaSet, replicas: int) -> dict[str, int]:
    return {} if rs.spec.replicas == replicas else {rs.metadata.name: replicas}


def initial_replicas(deployment: Deployment, old: list[ReplicaSet], old_pods: int) -> int:
    """The size at which a new ReplicaSet is made."""
    wanted = deployment.spec.replicas
    if deployment.spec.strategy.type == "Recreate":
        return 0 if old_pods or any(rs.spec.replicas for rs in old) else wanted
    surge, _ = limits(deployment)
    return max(0, min(wanted, wanted + surge - sum(rs.spec.replicas for rs in old)))


def _grown(deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> dict[str, int]:
    """The new ReplicaSet, up as far as the surge allows, or down to what is wanted."""
    wanted = deployment.spec.replicas
    if new.spec.replicas >= wanted:
        return _resize(new, wanted)
    surge, _ = limits(deployment)
    room = wanted + surge - new.spec.replicas - sum(rs.spec.replicas for rs in old)
    return _resize(new, min(wanted, new.spec.replicas + max(0, room)))


def _shrunk(deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> dict[str, int]:
    """Old ReplicaSets, down as far as availability allows; their unhealthy pods go first."""
    _, missing = limits(deployment)
    least = deployment.spec.replicas - missing
    everyone = new.spec.replicas + sum(rs.spec.replicas for rs in old)
    new_unavailable = max(0, new.spec.replicas - new.status.available_replicas)
    may_go = everyone - least - new_unavailable
    sizes = {rs.metadata.name: rs.spec.replicas for rs in old}
    oldest_first = sorted((rs for rs in old if rs.spec.replicas), key=_age)
    for rs in oldest_first:
        # Deleting unavailable pods does not reduce availability.
        useless = max(0, sizes[rs.metadata.name] - rs.status.available_replicas)
        gone = max(0, min(useless, may_go))
        sizes[rs.metadata.name] -= gone
        may_go -= gone
    available = new.status.available_replicas + sum(
        min(sizes[rs.metadata.name], rs.status.available_replicas) for rs in old
    )
    may_go = min(may_go, available - least)
    for rs in oldest_first:
        gone = max(0, min(sizes[rs.metadata.name], may_go))
        sizes[rs.metadata.name] -= gone
        may_go -= gone
    return _changed(sizes, old)


def _changed(sizes: dict[str, int], sets: list[ReplicaSet]) -> dict[str, int]:
    before = {rs.metadata.name: rs.spec.replicas for rs in sets}
    return {name: size for name, size in sizes.items() if size != before[name]}


def _proportional(deployment: Deployment, sets: list[ReplicaSet]) -> dict[str, int]:
    """A paused Deployment keeps the proportions of its ReplicaSets; only their sum changes."""
    active = sorted((rs for rs in sets if rs.spec.replicas), key=lambda rs: -rs.spec.replicas)
    if not active:
        return _resize(sets[-1], deployment.spec.replicas) if sets else {}
    if all(rs.metadata.annotations.get(DESIRED) == str(deployment.spec.replicas) for rs in active):
        return {}
    total = sum(rs.spec.replicas for rs in active)
    surge, _ = limits(deployment)
    goal = deployment.spec.replicas + (surge if len(active) > 1 else 0)
    sizes = {rs.metadata.name: rs.spec.replicas * goal // total for rs in active}
    sizes[active[0].metadata.name] += goal - sum(sizes.values())
    return {
        rs.metadata.name: n for rs in active if (n := sizes[rs.metadata.name]) != rs.spec.replicas
    }


def annotations_for(deployment: Deployment, number: int) -> dict[str, str]:
    """What the new ReplicaSet is annotated with."""
    surge, _ = limits(deployment)
    copied = {
        key: value
        for key, value in deployment.metadata.annotations.items()
        if key not in NOT_COPIED
    }
    return copied | {
        REVISION: str(number),
        DESIRED: str(deployment.spec.replicas),
        MAX: str(deployment.spec.replicas + surge),
    }


def surplus_history(deployment: Deployment, old: list[ReplicaSet]) -> list[ReplicaSet]:
    """Old, empty ReplicaSets beyond the number kept for rollbacks."""
    empty = [
        rs
        for rs in old
        if not rs.spec.replicas
        and not rs.status.replicas
        and rs.status.observed_generation >= rs.metadata.generation
        and not rs.metadata.deletion_timestamp
    ]
    empty.sort(key=lambda rs: revision(rs.metadata.annotations))
    return empty[: max(0, len(empty) - deployment.spec.revision_history_limit)]


def status_of(
    deployment: Deployment, new: ReplicaSet | None, sets: list[ReplicaSet], now: dt.datetime
) -> DeploymentStatus:
    """The status of the Deployment."""
    replicas = sum(rs.status.replicas for rs in sets)
    available = sum(rs.status.available_replicas for rs in sets)
    status = DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=replicas,
        updated_replicas=new.status.replicas if new else 0,
        ready_replicas=sum(rs.status.ready_replicas for rs in sets),
        available_replicas=available,
        unavailable_replicas=max(0, sum(rs.spec.replicas for rs in sets) - available),
    )
    others = tuple(
        c for c in deployment.status.conditions if c.type not in ("Available", "Progressing")
    )
    return msgspec.structs.replace(
        status,
        conditions=(
            _available(deployment, available, now),
            _progressing(deployment, status, new, now),
            *others,
        ),
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    return (
        status.updated_replicas == deployment.spec.replicas
        and status.replicas == deployment.spec.replicas
        and status.available_replicas == deployment.spec.replicas
    )


def _available(deployment: Deployment, available: int, now: dt.datetime) -> Condition:
    _, missing = limits(deployment)
    if available >= deployment.spec.replicas - missing:
        return _since(deployment, now, "Available", "True", "MinimumReplicasAvailable",
                      "Deployment has minimum availability.")  # fmt: skip
    return _since(deployment, now, "Available", "False", "MinimumReplicasUnavailable",
                  "Deployment does not have minimum availability.")  # fmt: skip


def _progressing(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: dt.datetime
) -> Condition:
    known = condition(deployment.status.conditions, "Progressing")
    name = f'ReplicaSet "{new.metadata.name}"' if new else "Deployment"
    if deployment.spec.paused:
        return _since(deployment, now, "Progressing", "Unknown", "DeploymentPaused",
                      "Deployment is paused")  # fmt: skip
    if new is not None and is_complete(deployment, status):
        return _since(deployment, now, "Progressing", "True", "NewReplicaSetAvailable",
                      f"{name} has successfully progressed.")  # fmt: skip
    before = deployment.status
    progressed = (
        status.updated_replicas > before.updated_replicas
        or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
        or status.ready_replicas > before.ready_replicas
        or status.available_replicas > before.available_replicas
        or before.observed_generation < status.observed_generation
    )
    if known is not None and not progressed:
        left = deadline_in(deployment, now)
        if left is not None and left <= 0 and known.reason != "NewReplicaSetAvailable":
            return _since(deployment, now, "Progressing", "False", "ProgressDeadlineExceeded",
                          f"{name} has timed out progressing.")  # fmt: skip
        if known.status != "Unknown":
            return known
    fresh = _since(deployment, now, "Progressing", "True", "ReplicaSetUpdated",
                   f"{name} is progressing.")  # fmt: skip
    return msgspec.structs.replace(fresh, last_update_time=timestamp(now))


def deadline_in(deployment: Deployment, now: dt.datetime) -> float | None:
    """Seconds until a rollout that makes no progress counts as failed."""
    known = condition(deployment.status.conditions, "Progressing")
    since = parse_time(known.last_update_time) if known else None
    if known is None or since is None or known.reason == "NewReplicaSetAvailable":
        return None
    return deployment.spec.progress_deadline_seconds - (now - since).total_seconds()


def _since(deployment: Deployment, now: dt.datetime, *said: str) -> Condition:
    """A condition (type, status, reason, message) whose times move only when it changes."""
    type_, status, reason, message = said
    known = condition(deployment.status.conditions, type_)
    if known and (known.status, known.reason, known.message) == (status, reason, message):
        return known
    changed = known is None or known.status != status
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_update_time=timestamp(now),
        last_transition_time=timestamp(now) if changed or not known else known.last_transition_time,
    )


def _age(rs: ReplicaSet) -> tuple[str, str]:
    return rs.metadata.creation_timestamp or "", rs.metadata.name


def replicaset_body(
    deployment: Deployment, owner: dict[str, Any], hashed: str, replicas: int, number: int
) -> dict[str, Any]:
    """The ReplicaSet for the Deployment's present template."""
    meta = deployment.metadata
    template_meta = deployment.spec.template.get("metadata") or {}
    labels = (template_meta.get("labels") or {}) | {HASH: hashed}
    selector = msgspec.to_builtins(deployment.spec.selector)
    selector["matchLabels"] = selector.get("matchLabels", {}) | {HASH: hashed}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta.name}-{hashed}",
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": annotations_for(deployment, number),
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector,
            "template": {
                **deployment.spec.template,
                "metadata": {**template_meta, "labels": labels},
            },
        },
    }

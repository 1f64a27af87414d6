"""The ReplicaSet controller: keeps the number of pods, and chooses which to delete first."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import REPLICASETS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers.objects import (
    Metadata,
    Pod,
    ReplicaSet,
    ReplicaSetStatus,
    controller_of,
    to_json,
)
from steppe_lab.controllers.podcontrol import (
    PodControl,
    available_in,
    is_active,
    is_ready,
    parse_time,
)
from steppe_lab.controllers.world import World

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaPlan(msgspec.Struct, frozen=True):
    """The changes that bring the number of pods to `replicas`."""

    create: int
    delete: tuple[Pod, ...]


def replica_plan(replicas: int, active: Iterable[Pod]) -> ReplicaPlan:
    """Create the missing, or delete the least useful."""
    pods = list(active)
    surplus = len(pods) - replicas
    if surplus <= 0:
        return ReplicaPlan(-surplus, ())
    return ReplicaPlan(0, tuple(deletion_order(pods)[:surplus]))


def deletion_order(pods: list[Pod]) -> list[Pod]:
    """Those to delete first come first (ActivePodsWithRanks in kubernetes/pkg/controller).

    Unassigned < assigned; Pending < Unknown < Running; not ready < ready; lower deletion cost;
    more pods on the same node; ready for a shorter time; created later.
    """
    on_node = Counter(pod.spec.node_name for pod in pods)

    def rank(pod: Pod) -> tuple[object, ...]:
        phase = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 1)
        return (
            bool(pod.spec.node_name),
            phase,
            is_ready(pod),
            _deletion_cost(pod),
            -on_node[pod.spec.node_name],
            -_ready_since(pod),
            -_seconds(pod.metadata.creation_timestamp),
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _ready_since(pod: Pod) -> float:
    ready = next((c for c in pod.status.conditions if c.type == "Ready"), None)
    return _seconds(ready.last_transition_time) if ready and ready.status == "True" else 0.0


def _seconds(text: str | None) -> float:
    moment = parse_time(text)
    return moment.timestamp() if moment else 0.0


def replica_status(rs: ReplicaSet, active: list[Pod], now: dt.datetime) -> ReplicaSetStatus:
    labels = ((rs.spec.template.get("metadata") or {}).get("labels") or {}).items()
    waits = [available_in(pod, rs.spec.min_ready_seconds, now) for pod in active]
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(labels <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(is_ready(pod) for pod in active),
        available_replicas=sum(wait == 0 for wait in waits),
        observed_generation=rs.metadata.generation,
    )


class ReplicaSetController:
    """Reconciles one ReplicaSet at a time with its pods."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods = PodControl(world, REPLICASETS)
        self._queue: Workqueue[Key] = Workqueue("replicaset")

    async def run(self) -> None:
        self._world.replicasets.listen(self._changed)
        self._world.pods.listen(self._pod_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(key_of(changed))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = controller_of(pod.metadata) if pod else None
            if pod is not None and owner is not None and owner.kind == "ReplicaSet":
                self._queue.add((pod.metadata.namespace, owner.name))
        if new is not None and controller_of(new.metadata) is None:
            for rs in self._world.replicasets_by_namespace[new.metadata.namespace]:
                self._queue.add(key_of(rs))

    async def _reconcile(self, key: Key) -> None:
        rs = self._world.replicasets.get(*key)
        if rs is None:
            return
        active = [p for p in await self._pods.claim(rs.metadata, rs.spec.selector) if is_active(p)]
        if not rs.metadata.deletion_timestamp:
            plan = replica_plan(rs.spec.replicas, active)
            try:
                if plan.create:
                    await self._pods.create(rs.metadata, rs.spec.template, plan.create)
                await self._pods.delete(rs.metadata, plan.delete)
            finally:
                await self._report(rs)
            return
        await self._report(rs)

    async def _report(self, rs: ReplicaSet) -> None:
        now = dt.datetime.now(dt.UTC)
        active = [pod for pod in self._pods.pods_of(rs.metadata) if is_active(pod)]
        self._wake_when_available(rs, active, now)
        status = replica_status(rs, active, now)
        latest = self._world.replicasets.get(*key_of(rs))
        if latest is None or latest.status == status:
            return
        await self._write_status(rs.metadata, status)

    def _wake_when_available(self, rs: ReplicaSet, active: list[Pod], now: dt.datetime) -> None:
        waits = [available_in(pod, rs.spec.min_ready_seconds, now) for pod in active]
        if positive := [wait for wait in waits if wait]:
            self._queue.add_after(key_of(rs), min(positive) + 0.1)

    async def _write_status(self, meta: Metadata, status: ReplicaSetStatus) -> None:
        zeros: dict[str, object] = dict.fromkeys(
            ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"), 0
        )
        patch = {"status": zeros | {"replicas": status.replicas} | to_json(status)}
        try:
            answer = await self._world.client.patch(
                REPLICASETS, meta.name, patch, meta.namespace, subresource="status"
            )
        except ApiError as error:
            if error.not_found:
                return
            raise
        self._world.replicasets.note(msgspec.convert(answer, ReplicaSet))

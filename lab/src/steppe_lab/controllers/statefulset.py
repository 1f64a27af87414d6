"""The StatefulSet controller: pods with names that stay, made and replaced one after another.

Left out: volume claims, and ControllerRevisions, so a pod below `partition` that dies comes back
from the new template.
"""

import datetime as dt
from collections.abc import Iterable

import msgspec

from steppe.client.resources import STATEFULSETS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe.manifests.templates import stateful_labels
from steppe_lab.controllers.objects import (
    Pod,
    StatefulSet,
    StatefulSetStatus,
    controller_of,
    to_json,
)
from steppe_lab.controllers.podcontrol import (
    FINISHED,
    PodControl,
    available_in,
    is_active,
    is_ready,
    short_hash,
)
from steppe_lab.controllers.world import World

HASH = "controller-revision-hash"


class StatefulPlan(msgspec.Struct, frozen=True):
    """Ordinals to create, pods to delete, and the counts for the status."""

    create: tuple[int, ...]
    delete: tuple[Pod, ...]
    status: StatefulSetStatus
    wait: float | None


def ordinal(name: str, pod: str) -> int | None:
    """Which of a StatefulSet's pods this is; None if it is none."""
    prefix, _, number = pod.rpartition("-")
    return (
        int(number) if prefix == name and number.isdigit() and str(int(number)) == number else None
    )


def revision_of(statefulset: StatefulSet) -> str:
    return f"{statefulset.metadata.name}-{short_hash(statefulset.spec.template)}"


def stateful_plan(statefulset: StatefulSet, pods: Iterable[Pod], now: dt.datetime) -> StatefulPlan:
    name, spec = statefulset.metadata.name, statefulset.spec
    held = {n: p for p in pods if (n := ordinal(name, p.metadata.name)) is not None}
    in_order = spec.pod_management_policy != "Parallel"
    waits = {n: available_in(pod, spec.min_ready_seconds, now) for n, pod in held.items()}

    def healthy(number: int) -> bool:
        return number in held and is_active(held[number]) and waits[number] == 0

    finished = [p for p in held.values() if p.status.phase in FINISHED and not _ending(p)]
    create: list[int] = []
    for number in range(spec.replicas):
        if number not in held:
            create.append(number)
        # "before a scaling operation is applied to a Pod, all of its predecessors must be
        # Running and Ready"
        if in_order and not healthy(number):
            break
    surplus = [held[n] for n in sorted(held, reverse=True) if n >= spec.replicas]
    settled = all(healthy(number) for number in range(spec.replicas))
    delete = list(finished)
    if not in_order:
        delete += [pod for pod in surplus if not _ending(pod)]
    elif surplus and not any(_ending(pod) for pod in surplus):
        # "Before a Pod is terminated, all of its successors must be completely shutdown."
        delete += surplus[:1] if settled else []
    if not delete and not create and not surplus:
        delete += _outdated(statefulset, held, settled=settled)
    return StatefulPlan(
        tuple(create),
        tuple(delete),
        _status(statefulset, held, waits),
        min((wait for wait in waits.values() if wait), default=None),
    )


def _ending(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def _outdated(statefulset: StatefulSet, held: dict[int, Pod], *, settled: bool) -> list[Pod]:
    """The pod to replace now: the highest outdated one, when the others are well."""
    strategy, revision = statefulset.spec.update_strategy, revision_of(statefulset)
    if strategy.type == "OnDelete":
        return []
    partition = strategy.rolling_update.partition if strategy.rolling_update else 0
    for number in sorted(held, reverse=True):
        pod = held[number]
        if number < partition:
            break
        if pod.metadata.labels.get(HASH) != revision:
            # An outdated unhealthy pod is deleted at once, or a broken rollout could not be
            # repaired.
            return [pod] if not _ending(pod) and (settled or not is_ready(pod)) else []
        if not is_ready(pod):
            break
    return []


def _status(
    statefulset: StatefulSet, held: dict[int, Pod], waits: dict[int, float | None]
) -> StatefulSetStatus:
    revision = revision_of(statefulset)
    before = statefulset.status.current_revision or revision
    active = {n: pod for n, pod in held.items() if is_active(pod)}
    labels = [pod.metadata.labels.get(HASH) for pod in active.values()]
    updated = labels.count(revision)
    done = updated == len(active) == statefulset.spec.replicas
    done = done and all(is_ready(pod) for pod in active.values())
    current = revision if done else before
    return StatefulSetStatus(
        observed_generation=statefulset.metadata.generation,
        replicas=len(held),
        ready_replicas=sum(is_ready(pod) for pod in active.values()),
        available_replicas=sum(waits[n] == 0 for n in active),
        current_replicas=labels.count(current),
        updated_replicas=updated,
        current_revision=current,
        update_revision=revision,
    )


class StatefulSetController:
    """Reconciles one StatefulSet at a time with its pods."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods = PodControl(world, STATEFULSETS)
        self._queue: Workqueue[Key] = Workqueue("statefulset")

    async def run(self) -> None:
        self._world.statefulsets.listen(self._changed)
        self._world.pods.listen(self._pod_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, _: StatefulSet | None, new: StatefulSet | None) -> None:
        if new is not None:
            self._queue.add(key_of(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = controller_of(pod.metadata) if pod else None
            if pod is not None and owner is not None and owner.kind == "StatefulSet":
                self._queue.add((pod.metadata.namespace, owner.name))

    async def _reconcile(self, key: Key) -> None:
        statefulset = self._world.statefulsets.get(*key)
        if statefulset is None or statefulset.metadata.deletion_timestamp:
            return
        meta = statefulset.metadata
        await self._pods.claim(meta, statefulset.spec.selector)
        # Pods that we have deleted keep their names until they are gone.
        pods = self._world.pods_by_controller[meta.uid]
        plan = stateful_plan(statefulset, pods, dt.datetime.now(dt.UTC))
        leaving = [pod for pod in plan.delete if not self._world.pods.is_marked_deleted(pod)]
        await self._pods.delete(meta, leaving)
        for number in plan.create:
            await self._create(statefulset, number)
        if plan.wait is not None:
            self._queue.add_after(key, plan.wait + 0.1)
        if plan.status != statefulset.status:
            counts = ("readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
            zeros: dict[str, object] = dict.fromkeys(counts, 0)
            answer = await self._world.client.patch(
                STATEFULSETS,
                meta.name,
                {"status": zeros | {"replicas": 0} | to_json(plan.status)},
                meta.namespace,
                subresource="status",
            )
            self._world.statefulsets.note(msgspec.convert(answer, StatefulSet))

    async def _create(self, statefulset: StatefulSet, number: int) -> None:
        name = f"{statefulset.metadata.name}-{number}"
        await self._pods.create(
            statefulset.metadata,
            statefulset.spec.template,
            name=name,
            labels={HASH: revision_of(statefulset)} | stateful_labels(name, str(number)),
            spec={"hostname": name, "subdomain": statefulset.spec.service_name},
        )

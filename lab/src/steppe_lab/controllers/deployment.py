"""The Deployment controller: carries out what `rollout` decides."""

import datetime as dt

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import DEPLOYMENTS, REPLICASETS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers import rollout
from steppe_lab.controllers.matching import selects
from steppe_lab.controllers.objects import (
    Deployment,
    DeploymentStatus,
    Pod,
    ReplicaSet,
    controller_of,
    to_json,
)
from steppe_lab.controllers.podcontrol import (
    FINISHED,
    about,
    adopt,
    owner_reference,
    release,
    short_hash,
)
from steppe_lab.controllers.world import World


class DeploymentController:
    """Reconciles one Deployment at a time with its ReplicaSets.

    Invariant: each step is computed from the observed objects alone, so it may be repeated or
    interrupted at any point.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[Key] = Workqueue("deployment")

    async def run(self) -> None:
        self._world.deployments.listen(self._changed)
        self._world.replicasets.listen(self._set_changed)
        self._world.pods.listen(self._pod_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, old: Deployment | None, new: Deployment | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(key_of(changed))

    def _set_changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for rs in (old, new):
            owner = controller_of(rs.metadata) if rs else None
            if rs is not None and owner is not None and owner.kind == "Deployment":
                self._queue.add((rs.metadata.namespace, owner.name))
        if new is not None and controller_of(new.metadata) is None:
            for key in self._world.deployments.items:
                if key[0] == new.metadata.namespace:
                    self._queue.add(key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A Recreate rollout waits for the last old pod to go."""
        if new is not None or old is None:
            return
        owner = controller_of(old.metadata)
        rs = self._world.replicasets.get(old.metadata.namespace, owner.name) if owner else None
        holder = controller_of(rs.metadata) if rs else None
        if rs is not None and holder is not None:
            self._queue.add((rs.metadata.namespace, holder.name))

    async def _reconcile(self, key: Key) -> None:
        deployment = self._world.deployments.get(*key)
        if deployment is None:
            return
        sets = await self._claim(deployment)
        if deployment.metadata.deletion_timestamp:
            return
        new = rollout.newest(deployment, sets)
        old = [rs for rs in sets if new is None or rs.metadata.uid != new.metadata.uid]
        old_pods = sum(self._living(rs) for rs in old)
        if new is None and not deployment.spec.paused:
            new = await self._create(deployment, old, old_pods)
        elif new is not None:
            new = await self._annotate(deployment, new, sets)
        for name, replicas in rollout.scales(deployment, new, old, old_pods).items():
            await self._scale(deployment, name, replicas)
        if rollout.is_complete(deployment, deployment.status):
            for rs in rollout.surplus_history(deployment, old):
                await self._delete(rs)
        await self._report(key, deployment)

    def _living(self, rs: ReplicaSet) -> int:
        pods = self._world.pods_by_controller[rs.metadata.uid]
        return sum(pod.status.phase not in FINISHED for pod in pods)

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        """Our ReplicaSets, after adopting matching orphans and releasing all others."""
        owned = []
        meta, selector = deployment.metadata, deployment.spec.selector
        copy = self._world.replicaset_copy
        for rs in self._world.replicasets_by_controller[meta.uid]:
            if self._world.replicasets.is_marked_deleted(rs):
                continue
            if selects(selector, rs.metadata.labels) or meta.deletion_timestamp:
                owned.append(rs)
            else:
                await release(self._world, copy, rs, meta)
        if meta.deletion_timestamp:
            return owned
        orphans = [
            rs
            for rs in self._world.replicasets_by_namespace[meta.namespace]
            if controller_of(rs.metadata) is None
            and not rs.metadata.deletion_timestamp
            and selects(selector, rs.metadata.labels)
        ]
        adopted = [await adopt(self._world, copy, rs, DEPLOYMENTS, meta) for rs in orphans]
        return owned + adopted

    async def _create(
        self, deployment: Deployment, old: list[ReplicaSet], old_pods: int
    ) -> ReplicaSet:
        body = rollout.replicaset_body(
            deployment,
            owner_reference(DEPLOYMENTS, deployment.metadata),
            short_hash(deployment.spec.template),
            rollout.initial_replicas(deployment, old, old_pods),
            rollout.next_revision(None, old),
        )
        namespace, name = deployment.metadata.namespace, body["metadata"]["name"]
        try:
            answer = await self._world.client.create(REPLICASETS, body, namespace)
        except ApiError as error:
            if not error.already_exists:
                self._say(deployment, "Warning", "ReplicaSetCreateError", error.message)
                raise
            answer = await self._world.client.get(REPLICASETS, name, namespace)
        new = msgspec.convert(answer, ReplicaSet)
        self._world.replicasets.note(new)
        self._say_scaled(deployment, name, 0, new.spec.replicas)
        return new

    async def _annotate(
        self, deployment: Deployment, new: ReplicaSet, sets: list[ReplicaSet]
    ) -> ReplicaSet:
        number = rollout.next_revision(new, sets)
        wanted = rollout.annotations_for(deployment, number)
        if wanted.items() <= new.metadata.annotations.items():
            return new
        return await self._patch_set(new.metadata.name, new.metadata.namespace, {
            "metadata": {"annotations": wanted}
        })  # fmt: skip

    async def _scale(self, deployment: Deployment, name: str, replicas: int) -> None:
        namespace = deployment.metadata.namespace
        before = self._world.replicasets.get(namespace, name)
        surge, _ = rollout.limits(deployment)
        annotations = {
            rollout.DESIRED: str(deployment.spec.replicas),
            rollout.MAX: str(deployment.spec.replicas + surge),
        }
        patch = {"spec": {"replicas": replicas}, "metadata": {"annotations": annotations}}
        await self._patch_set(name, namespace, patch)
        self._say_scaled(deployment, name, before.spec.replicas if before else 0, replicas)

    async def _patch_set(self, name: str, namespace: str, patch: dict[str, object]) -> ReplicaSet:
        answer = await self._world.client.patch(REPLICASETS, name, patch, namespace)
        rs = msgspec.convert(answer, ReplicaSet)
        self._world.replicasets.note(rs)
        return rs

    async def _delete(self, rs: ReplicaSet) -> None:
        meta = rs.metadata
        await self._world.client.delete(
            REPLICASETS, meta.name, meta.namespace, uid=meta.uid, propagation="Background"
        )
        self._world.replicasets.mark_deleted(rs)

    async def _report(self, key: Key, deployment: Deployment) -> None:
        now = dt.datetime.now(dt.UTC)
        owned = self._world.replicasets_by_controller[deployment.metadata.uid]
        sets = [rs for rs in owned if not self._world.replicasets.is_marked_deleted(rs)]
        new = rollout.newest(deployment, sets)
        status = rollout.status_of(deployment, new, sets, now)
        left = rollout.deadline_in(deployment, now)
        if left is not None and left > 0 and not rollout.is_complete(deployment, status):
            self._queue.add_after(key, left + 1)
        meta = deployment.metadata
        number = str(rollout.revision(new.metadata.annotations)) if new else ""
        if number and meta.annotations.get(rollout.REVISION) != number:
            patch = {"metadata": {"annotations": {rollout.REVISION: number}}}
            answer = await self._world.client.patch(DEPLOYMENTS, meta.name, patch, meta.namespace)
            self._world.deployments.note(msgspec.convert(answer, Deployment))
        if status != deployment.status:
            await self._write_status(deployment, status)

    async def _write_status(self, deployment: Deployment, status: DeploymentStatus) -> None:
        # A merge patch does not change fields that it does not have, so zeros must be written.
        zeros = dict.fromkeys(
            (
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
            ),
            None,
        )
        meta = deployment.metadata
        answer = await self._world.client.patch(
            DEPLOYMENTS,
            meta.name,
            {"status": zeros | to_json(status)},
            meta.namespace,
            subresource="status",
        )
        self._world.deployments.note(msgspec.convert(answer, Deployment))

    def _say_scaled(self, deployment: Deployment, name: str, before: int, after: int) -> None:
        if before != after:
            way = "up" if after > before else "down"
            message = f"Scaled {way} replica set {name} from {before} to {after}"
            self._say(deployment, "Normal", "ScalingReplicaSet", message)

    def _say(self, deployment: Deployment, type_: str, reason: str, message: str) -> None:
        self._world.events.event(about(DEPLOYMENTS, deployment.metadata), type_, reason, message)

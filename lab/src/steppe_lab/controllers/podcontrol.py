"""Shared by all controllers of pods: owners, active pods, creating and deleting pods."""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from steppe.client.errors import ApiError
from steppe.client.events import ObjectReference, reference
from steppe.client.resources import PODS, Resource
from steppe.errors import SteppeError
from steppe_lab.controllers.matching import selects
from steppe_lab.controllers.objects import (
    LabelSelector,
    Metadata,
    Pod,
    ReplicaSet,
    Template,
    condition,
    controller_of,
    is_true,
)
from steppe_lab.controllers.world import Copy, World

# Letters and digits that form no words (k8s.io/apimachinery/pkg/util/rand).
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
T = TypeVar("T", Pod, ReplicaSet)
FINISHED = ("Succeeded", "Failed")
# Writes of one controller in flight at once.
BATCH = 16


def short_hash(value: object) -> str:
    """Ten characters that stand for a template in labels and names."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def is_active(pod: Pod) -> bool:
    """Whether a pod still counts for its controller."""
    return pod.status.phase not in FINISHED and not pod.metadata.deletion_timestamp


def is_ready(pod: Pod) -> bool:
    return is_true(pod.status.conditions, "Ready")


def available_in(pod: Pod, min_ready_seconds: int, now: dt.datetime) -> float | None:
    """Seconds until a pod has been ready for long enough: 0 if it has, None if it is not ready."""
    ready = condition(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    since = parse_time(ready.last_transition_time)
    if since is None:
        return float(min_ready_seconds)
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def parse_time(text: str | None) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def timestamp(now: dt.datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def owner_reference(resource: Resource, owner: Metadata) -> dict[str, Any]:
    """The reference by which a controller marks what it manages."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def about(resource: Resource, meta: Metadata) -> ObjectReference:
    return reference(resource, meta.name, meta.namespace, meta.uid)


class PodControl:
    """Creates, deletes and adopts pods for one kind of controller."""

    def __init__(self, world: World, resource: Resource) -> None:
        self._world = world
        self._resource = resource

    def pods_of(self, owner: Metadata) -> list[Pod]:
        """The pods of a controller, without those that it has just deleted."""
        found = self._world.pods_by_controller[owner.uid]
        return [pod for pod in found if not self._world.pods.is_marked_deleted(pod)]

    async def claim(self, owner: Metadata, selector: LabelSelector) -> list[Pod]:
        """Adopt matching orphans, release pods that no longer match; returns the remaining pods."""
        owned = []
        for pod in self.pods_of(owner):
            if selects(selector, pod.metadata.labels) or owner.deletion_timestamp:
                owned.append(pod)
            else:
                await release(self._world, self._world.pod_copy, pod, owner)
        if owner.deletion_timestamp:
            return owned
        for pod in self._world.pods_by_namespace[owner.namespace]:
            if (
                controller_of(pod.metadata) is None
                and is_active(pod)
                and selects(selector, pod.metadata.labels)
            ):
                adopted = await adopt(self._world, self._world.pod_copy, pod, self._resource, owner)
                owned.append(adopted)
        return owned

    async def create(
        self,
        owner: Metadata,
        template: Template,
        count: int = 1,
        *,
        name: str = "",
        labels: dict[str, str] | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        """Create pods in batches of 1, 2, 4 …, so that few requests are wasted if one fails."""
        meta = template.get("metadata") or {}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **({"name": name} if name else {"generateName": f"{owner.name}-"}),
                "namespace": owner.namespace,
                "labels": (meta.get("labels") or {}) | (labels or {}),
                "annotations": meta.get("annotations") or {},
                "ownerReferences": [owner_reference(self._resource, owner)],
            },
            "spec": (template.get("spec") or {}) | (spec or {}),
        }
        batch = 1
        while count > 0:
            await in_parallel(self._create(owner, body) for _ in range(min(batch, count)))
            count -= batch
            batch = min(2 * batch, BATCH)

    async def _create(self, owner: Metadata, body: dict[str, Any]) -> None:
        try:
            answer = await self._world.client.create(PODS, body, owner.namespace)
        except ApiError as error:
            if error.namespace_terminating:
                return
            self.say(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        pod = msgspec.convert(answer, Pod)
        self._world.pods.note(pod)
        self.say(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")

    async def delete(self, owner: Metadata, pods: Iterable[Pod]) -> None:
        waiting = list(pods)
        while waiting:
            now, waiting = waiting[:BATCH], waiting[BATCH:]
            await in_parallel(self._delete(owner, pod) for pod in now)

    async def _delete(self, owner: Metadata, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._world.client.delete(PODS, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
        self._world.pods.mark_deleted(pod)
        self.say(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")

    def say(self, owner: Metadata, type_: str, reason: str, message: str) -> None:
        self._world.events.event(about(self._resource, owner), type_, reason, message)


async def in_parallel(work: Iterable[Any]) -> None:
    """Do all at once; the first failure is raised plainly, after the others were stopped."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except* SteppeError as errors:
        raise errors.exceptions[0] from None


async def adopt(
    world: World, copy: Copy[T], item: T, owner_resource: Resource, owner: Metadata
) -> T:
    """Become the controller of an object that has none."""
    kept: list[Any] = [
        msgspec.to_builtins(reference) for reference in item.metadata.owner_references
    ]
    return await _reown(world, copy, item, [*kept, owner_reference(owner_resource, owner)])


async def release(world: World, copy: Copy[T], item: T, owner: Metadata) -> None:
    """Stop being the controller of an object whose labels no longer match."""
    kept = [r for r in item.metadata.owner_references if r.uid != owner.uid]
    await _reown(world, copy, item, [msgspec.to_builtins(reference) for reference in kept])


async def _reown(world: World, copy: Copy[T], item: T, owners: list[dict[str, Any]]) -> T:
    meta = item.metadata
    # The uid makes the server refuse if another object took the name meanwhile.
    patch = {"metadata": {"uid": meta.uid, "ownerReferences": owners}}
    answer = await world.client.patch(copy.resource, meta.name, patch, meta.namespace)
    changed = msgspec.convert(answer, copy.type)
    copy.store.note(changed)
    return changed

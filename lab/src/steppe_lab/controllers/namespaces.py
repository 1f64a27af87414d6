"""The namespace controller: deletes the content of a terminating namespace, then its finalizer."""

import asyncio
from typing import Any

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import NAMESPACES, PODS, Resource
from steppe.client.store import HasMeta
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers.discovery import resources
from steppe_lab.controllers.objects import Namespace, Owned
from steppe_lab.controllers.world import World

FINALIZER = "kubernetes"
# How soon to look again while objects with finalizers, or pods, take their time.
LOOK_AGAIN_SECONDS = 2.0


class NamespaceController:
    """Deletes what is in namespaces with a deletionTimestamp."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[str] = Workqueue("namespace")

    async def run(self) -> None:
        self._world.namespaces.listen(self._changed)
        for copy in self._world.copies:
            copy.store.listen(self._content_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, _: Namespace | None, new: Namespace | None) -> None:
        if new is not None and new.metadata.deletion_timestamp:
            self._queue.add(new.metadata.name)

    def _content_changed(self, old: HasMeta | None, new: HasMeta | None) -> None:
        """An object was deleted: it may have been the namespace's last."""
        if new is None and old is not None:
            self._changed(None, self._world.namespaces.get("", old.metadata.namespace))

    async def _reconcile(self, name: str) -> None:
        namespace = self._world.namespaces.get("", name)
        if namespace is None or not namespace.metadata.deletion_timestamp:
            return
        if FINALIZER not in namespace.spec.finalizers:
            return
        left = 0
        verbs = frozenset({"list", "delete"})
        for resource in await resources(self._world.client, verbs=verbs):
            if resource.namespaced:
                left += await self._empty(resource, name)
        if left:
            self._queue.add_after(name, LOOK_AGAIN_SECONDS)
            return
        await self._finalize(name)

    async def _empty(self, resource: Resource, namespace: str) -> int:
        """Delete all objects of a resource; returns how many remain."""
        left = 0
        items, _ = await self._world.client.list(resource, namespace)
        for item in items:
            meta = msgspec.convert(item, Owned).metadata
            left += 1
            if meta.deletion_timestamp:
                continue
            try:
                answer = await self._world.client.delete(
                    resource, meta.name, namespace, propagation="Background"
                )
            except ApiError as error:
                if not error.not_found:
                    raise
                left -= 1
            else:
                # Most objects are gone with the answer; pods and those with finalizers linger.
                left -= resource != PODS and not meta.finalizers and _is_gone(answer)
            await asyncio.sleep(0)
        return left

    async def _finalize(self, name: str) -> None:
        try:
            fresh = await self._world.client.get(NAMESPACES, name)
            spec = fresh.setdefault("spec", {})
            spec["finalizers"] = [f for f in spec.get("finalizers") or [] if f != FINALIZER]
            await self._world.client.update(NAMESPACES, fresh, subresource="finalize")
        except ApiError as error:
            if not error.not_found:
                raise


def _is_gone(answer: dict[str, Any]) -> bool:
    meta = answer.get("metadata") or {}
    return not meta.get("deletionTimestamp")

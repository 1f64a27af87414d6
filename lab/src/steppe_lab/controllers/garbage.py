"""The garbage collector: deletes or releases dependents of deleted owners.

owner gone ───────────────▶ dependents with no other owner are deleted (background)
finalizer foregroundDeletion ▶ dependents first, then the finalizer is taken off the owner
finalizer orphan ─────────▶ dependents lose the reference, then the finalizer is taken off
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import CRDS, EVENTS, LEASES, Resource
from steppe.client.store import Store, keep
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers.discovery import resources
from steppe_lab.controllers.objects import Metadata, Owned, OwnerReference
from steppe_lab.controllers.world import World

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
# A new kind is served a moment after its definition is written.
DISCOVERY_SECONDS = 1.0

ObjectKey = tuple[Resource, str, str]
"""Resource, namespace, name."""


class Verdict(msgspec.Struct, frozen=True):
    """What to do with an object, given which of its owners still exist."""

    delete: bool = False
    keep_owners: tuple[OwnerReference, ...] | None = None
    """Owner references to keep, if some must go; None leaves them all."""


def verdict(owners: Iterable[tuple[OwnerReference, bool]]) -> Verdict:
    """Delete an object without any owner left; else drop references to deleted owners."""
    known = list(owners)
    there = tuple(owner for owner, exists in known if exists)
    if not known or len(there) == len(known):
        return Verdict()
    return Verdict(keep_owners=there) if there else Verdict(delete=True)


class GarbageCollector:
    """Watches the metadata of every kind the server has.

    Invariant: nothing is deleted before the server itself has confirmed that the owner is gone.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[ObjectKey] = Workqueue("garbage")
        self._by_uid: dict[str, ObjectKey] = {}
        self._stores: dict[Resource, Store[Owned]] = {}
        self._dependents: defaultdict[str, set[ObjectKey]] = defaultdict(set)
        self._kinds: dict[tuple[str, str], Resource] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_kinds(group))
            await self._queue.run(self._reconcile)

    async def _watch_kinds(self, group: asyncio.TaskGroup) -> None:
        """Begin to watch each kind once; definitions of new kinds make us look again."""
        changed = asyncio.Event()
        definitions: Store[Owned] = Store()
        definitions.listen(lambda _old, _new: changed.set())
        group.create_task(keep(definitions, self._world.client, CRDS, Owned, changed.set))
        verbs = frozenset({"list", "watch", "delete", "patch"})
        while True:
            changed.clear()
            for resource in await resources(self._world.client, verbs=verbs):
                self._kinds[resource.group, resource.kind] = resource
                # Leases and Events are many, change often, and hardly ever have owners.
                if resource not in self._stores and resource not in (EVENTS, LEASES):
                    self._watch_kind(group, resource)
            await changed.wait()
            await asyncio.sleep(DISCOVERY_SECONDS)

    def _watch_kind(self, group: asyncio.TaskGroup, resource: Resource) -> None:
        store = self._stores[resource] = Store()

        def changed(old: Owned | None, new: Owned | None) -> None:
            self._changed(resource, old, new)

        store.listen(changed)
        group.create_task(keep(store, self._world.client, resource, Owned, lambda: None))

    def _changed(self, resource: Resource, old: Owned | None, new: Owned | None) -> None:
        for item in (old, new):
            if item is None:
                continue
            meta = item.metadata
            key = (resource, meta.namespace, meta.name)
            for owner in meta.owner_references:
                if item is new:
                    self._dependents[owner.uid].add(key)
                else:
                    self._drop_dependent(owner.uid, key)
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._gone(old.metadata)
        if new is None:
            return
        key = (resource, new.metadata.namespace, new.metadata.name)
        self._by_uid[new.metadata.uid] = key
        if old is None and new.metadata.owner_references:
            self._queue.add(key)
        if {FOREGROUND, ORPHAN} & set(new.metadata.finalizers):
            self._queue.add(key)

    def _gone(self, meta: Metadata) -> None:
        self._by_uid.pop(meta.uid, None)
        for dependent in self._dependents.get(meta.uid, ()):
            self._queue.add(dependent)
        # The last dependent may be what a foreground deletion waits for.
        for owner in meta.owner_references:
            if (waiting := self._by_uid.get(owner.uid)) is not None:
                self._queue.add(waiting)

    def _drop_dependent(self, owner: str, key: ObjectKey) -> None:
        dependents = self._dependents[owner]
        dependents.discard(key)
        if not dependents:
            del self._dependents[owner]

    def _find(self, key: ObjectKey) -> Metadata | None:
        resource, namespace, name = key
        item = self._stores[resource].get(namespace, name)
        return item.metadata if item else None

    async def _reconcile(self, key: ObjectKey) -> None:
        meta = self._find(key)
        if meta is None:
            return
        if meta.deletion_timestamp:
            if ORPHAN in meta.finalizers:
                await self._orphan(key, meta)
            elif FOREGROUND in meta.finalizers:
                await self._foreground(key, meta)
            return
        owners = [(owner, await self._exists(key, owner)) for owner in meta.owner_references]
        decided = verdict(owners)
        if decided.delete:
            await self._delete(key, meta, "Background")
        elif decided.keep_owners is not None:
            await self._set_owners(key, meta, decided.keep_owners)

    async def _exists(self, key: ObjectKey, owner: OwnerReference) -> bool:
        """Ask the server itself before an object is deleted because its owner is missing."""
        if owner.uid in self._by_uid:
            return True
        group = owner.api_version.rpartition("/")[0]
        resource = self._kinds.get((group, owner.kind))
        if resource is None:
            return True  # a kind that is not served may be served later
        try:
            namespace = key[1] if resource.namespaced else ""
            found = await self._world.client.get(resource, owner.name, namespace)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return bool(found["metadata"]["uid"] == owner.uid)

    async def _foreground(self, key: ObjectKey, meta: Metadata) -> None:
        blocking = 0
        for dependent in list(self._dependents.get(meta.uid, ())):
            theirs = self._find(dependent)
            if theirs is None:
                continue
            blocks = any(
                o.uid == meta.uid and o.block_owner_deletion for o in theirs.owner_references
            )
            blocking += blocks
            if not theirs.deletion_timestamp:
                await self._delete(dependent, theirs, "Foreground" if blocks else "Background")
        if not blocking:
            await self._remove_finalizer(key, meta, FOREGROUND)

    async def _orphan(self, key: ObjectKey, meta: Metadata) -> None:
        for dependent in list(self._dependents.get(meta.uid, ())):
            theirs = self._find(dependent)
            if theirs is not None:
                kept = tuple(o for o in theirs.owner_references if o.uid != meta.uid)
                await self._set_owners(dependent, theirs, kept)
        await self._remove_finalizer(key, meta, ORPHAN)

    async def _delete(self, key: ObjectKey, meta: Metadata, propagation: str) -> None:
        resource, namespace, name = key
        try:
            await self._world.client.delete(
                resource, name, namespace, uid=meta.uid, propagation=propagation
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    async def _set_owners(
        self, key: ObjectKey, meta: Metadata, owners: tuple[OwnerReference, ...]
    ) -> None:
        references = [msgspec.to_builtins(owner) for owner in owners]
        await self._patch(key, {"uid": meta.uid, "ownerReferences": references})

    async def _remove_finalizer(self, key: ObjectKey, meta: Metadata, finalizer: str) -> None:
        kept = [held for held in meta.finalizers if held != finalizer]
        # With the version: a finalizer somebody added meanwhile must not be lost.
        await self._patch(key, {"resourceVersion": meta.resource_version, "finalizers": kept})

    async def _patch(self, key: ObjectKey, meta: dict[str, object]) -> None:
        resource, namespace, name = key
        try:
            await self._world.client.patch(resource, name, {"metadata": meta}, namespace)
        except ApiError as error:
            if not error.not_found:
                raise

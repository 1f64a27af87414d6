"""The EndpointSliceMirroring controller: slices for Endpoints that somebody wrote by hand.

What they hold is decided in manifests/mirrored.py, which offline answers use too.
"""

from typing import Any

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import ENDPOINTS, ENDPOINTSLICES
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe.manifests.mirrored import MANAGED_BY, MIRRORING, mirrors, slices_of
from steppe_lab.controllers.objects import Endpoints, EndpointSlice, Service, to_json
from steppe_lab.controllers.podcontrol import owner_reference
from steppe_lab.controllers.world import World

Json = dict[str, Any]


class MirroringController:
    """Reconciles one Endpoints object at a time with the slices that mirror it.

    The slices' names follow from their number, so one that is there already is updated.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[Key] = Workqueue("endpointslice-mirroring")

    async def run(self) -> None:
        self._world.endpoints.listen(self._changed)
        self._world.services.listen(self._changed)
        self._world.slices.listen(self._slice_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, old: Endpoints | Service | None, new: Endpoints | Service | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(key_of(changed))

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        changed = new or old
        if changed is not None and _is_ours(changed):
            name = changed.metadata.name.rpartition("-mirrored-")[0]
            self._queue.add((changed.metadata.namespace, name))

    async def _reconcile(self, key: Key) -> None:
        wanted = {each["metadata"]["name"]: each for each in self._wanted(key)}
        held = {
            each.metadata.name: each
            for each in self._world.slices_by_service[key]
            if _is_ours(each) and not self._world.slices.is_marked_deleted(each)
        }
        for name, body in wanted.items():
            before = held.pop(name, None)
            if before is None:
                await self._create(body)
            elif _content(before) != _content(msgspec.convert(body, EndpointSlice)):
                await self._update(before, body)
        for left in held.values():
            await self._delete(left)

    def _wanted(self, key: Key) -> list[Json]:
        service = self._world.services.get(*key)
        endpoints = self._world.endpoints.get(*key)
        if service is None or endpoints is None or service.metadata.deletion_timestamp:
            return []
        selecting = service.spec.selector or service.spec.type == "ExternalName"
        document = to_json(endpoints)
        if selecting or not mirrors(document):
            return []
        owner = owner_reference(ENDPOINTS, endpoints.metadata)
        return [
            each | {"metadata": each["metadata"] | {"ownerReferences": [owner]}}
            for each in slices_of(document, *key)
        ]

    async def _create(self, body: Json) -> None:
        try:
            answer = await self._world.client.create(
                ENDPOINTSLICES, body, body["metadata"]["namespace"]
            )
        except ApiError as error:
            if error.namespace_terminating or error.not_found:
                return
            raise
        self._world.slices.note(msgspec.convert(answer, EndpointSlice))

    async def _update(self, before: EndpointSlice, body: Json) -> None:
        # The version makes the server refuse if somebody else changed the slice meanwhile.
        version = {"resourceVersion": before.metadata.resource_version}
        changed = body | {"metadata": body["metadata"] | version}
        answer = await self._world.client.update(ENDPOINTSLICES, changed, before.metadata.namespace)
        self._world.slices.note(msgspec.convert(answer, EndpointSlice))

    async def _delete(self, slice_: EndpointSlice) -> None:
        meta = slice_.metadata
        try:
            await self._world.client.delete(ENDPOINTSLICES, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not error.not_found:
                raise
        self._world.slices.mark_deleted(slice_)


def _is_ours(slice_: EndpointSlice) -> bool:
    return slice_.metadata.labels.get(MANAGED_BY) == MIRRORING


def _content(slice_: EndpointSlice) -> object:
    """What mirroring decides of a slice."""
    addresses = tuple((e.addresses, e.conditions.ready) for e in slice_.endpoints or ())
    ports = tuple((p.name, p.protocol, p.port) for p in slice_.ports or ())
    return slice_.address_type, addresses, ports

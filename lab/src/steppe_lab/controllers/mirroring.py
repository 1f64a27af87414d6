"""The EndpointSliceMirroring controller: slices for Endpoints that somebody wrote by hand.

What they hold is decided in manifests/mirrored.py, which offline answers use too.
"""

from typing import Any

import msgspec

from steppe.client.resources import ENDPOINTS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe.manifests.mirrored import MIRRORING, mirrors, slices_of
from steppe_lab.controllers.objects import Endpoints, EndpointSlice, Service, to_json
from steppe_lab.controllers.podcontrol import owner_reference
from steppe_lab.controllers.slicecontrol import SliceControl
from steppe_lab.controllers.world import World

Json = dict[str, Any]


class MirroringController:
    """Reconciles one Endpoints object at a time with the slices that mirror it.

    The slices' names follow from their number, so one that is there already is updated.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[Key] = Workqueue("endpointslice-mirroring")
        self._slices = SliceControl(world, MIRRORING)

    async def run(self) -> None:
        self._world.endpoints.listen(self._changed)
        self._world.services.listen(self._changed)
        self._slices.listen(self._queue)
        await self._queue.run(self._reconcile)

    def _changed(self, old: Endpoints | Service | None, new: Endpoints | Service | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(key_of(changed))

    async def _reconcile(self, key: Key) -> None:
        wanted = {each["metadata"]["name"]: each for each in self._wanted(key)}
        held = {each.metadata.name: each for each in self._slices.held(key)}
        for name, body in wanted.items():
            before = held.pop(name, None)
            if before is not None and before.address_type != body["addressType"]:
                await self._slices.delete(before)  # for the family of a slice never changes
                before = None
            if before is None:
                await self._slices.create(body)
            elif _content(before) != _content(msgspec.convert(body, EndpointSlice)):
                await self._slices.update(body, before.metadata.resource_version)
        for left in held.values():
            await self._slices.delete(left)

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


def _content(slice_: EndpointSlice) -> object:
    """What mirroring decides of a slice."""
    addresses = tuple(
        (e.addresses, e.conditions.ready, e.node_name, e.target_ref) for e in slice_.endpoints or ()
    )
    ports = tuple((p.name, p.protocol, p.port) for p in slice_.ports or ())
    return slice_.address_type, addresses, ports

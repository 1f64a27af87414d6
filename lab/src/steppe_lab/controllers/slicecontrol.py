"""For controllers of EndpointSlices: which slices are theirs, and how they are written."""

from typing import Any

import msgspec

from steppe.client.errors import ApiError
from steppe.client.resources import ENDPOINTSLICES
from steppe.client.store import Key
from steppe.client.workqueue import Workqueue
from steppe.kube.services import SERVICE_NAME_LABEL
from steppe.manifests.mirrored import MANAGED_BY
from steppe_lab.controllers.objects import EndpointSlice
from steppe_lab.controllers.world import World

Json = dict[str, Any]


class SliceControl:
    """Reads and writes the slices that one controller manages; those of others are left alone."""

    def __init__(self, world: World, manager: str) -> None:
        self._world = world
        self._manager = manager

    def listen(self, queue: Workqueue[Key]) -> None:
        """Queue the Service of each slice of this controller that changes."""

        def changed(old: EndpointSlice | None, new: EndpointSlice | None) -> None:
            seen = new or old
            if seen is not None and self._manages(seen):
                name = seen.metadata.labels.get(SERVICE_NAME_LABEL, "")
                queue.add((seen.metadata.namespace, name))

        self._world.slices.listen(changed)

    def held(self, service: Key) -> list[EndpointSlice]:
        """The slices of a Service, without those that are being deleted."""
        return [
            slice_
            for slice_ in self._world.slices_by_service[service]
            if self._manages(slice_)
            and not slice_.metadata.deletion_timestamp
            and not self._world.slices.is_marked_deleted(slice_)
        ]

    async def create(self, body: Json) -> None:
        """Nothing is created in a namespace that is going or gone."""
        try:
            answer = await self._world.client.create(
                ENDPOINTSLICES, body, body["metadata"]["namespace"]
            )
        except ApiError as error:
            if error.namespace_terminating or error.not_found:
                return
            raise
        self._world.slices.note(msgspec.convert(answer, EndpointSlice))

    async def update(self, body: Json, version: str) -> None:
        """`version`: the server refuses if somebody else has changed the slice since."""
        meta = body["metadata"] | {"resourceVersion": version}
        answer = await self._world.client.update(
            ENDPOINTSLICES, body | {"metadata": meta}, meta["namespace"]
        )
        self._world.slices.note(msgspec.convert(answer, EndpointSlice))

    async def delete(self, slice_: EndpointSlice) -> None:
        meta = slice_.metadata
        try:
            await self._world.client.delete(ENDPOINTSLICES, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not error.not_found:
                raise
        self._world.slices.mark_deleted(slice_)

    def _manages(self, slice_: EndpointSlice) -> bool:
        return slice_.metadata.labels.get(MANAGED_BY) == self._manager

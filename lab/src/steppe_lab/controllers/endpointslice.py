"""The EndpointSlice controller: carries out what `slices` decides."""

import asyncio
from typing import Any

from steppe.client.resources import ENDPOINTSLICES, SERVICES
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe.kube.objects import ZONE_LABEL
from steppe_lab.controllers.matching import selects
from steppe_lab.controllers.objects import (
    EndpointSlice,
    LabelSelector,
    Node,
    Pod,
    Service,
    to_json,
)
from steppe_lab.controllers.podcontrol import owner_reference
from steppe_lab.controllers.slicecontrol import SliceControl
from steppe_lab.controllers.slices import MANAGER, slice_plan
from steppe_lab.controllers.world import World

# Pods of one Service become ready in bursts; a slice written once for many costs every reader less.
GATHER_SECONDS = 0.05


class EndpointSliceController:
    """Reconciles one Service at a time with its slices."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[Key] = Workqueue("endpointslice")
        self._slices = SliceControl(world, MANAGER)
        self._services = world.services.index(lambda service: (service.metadata.namespace,))

    async def run(self) -> None:
        self._world.services.listen(self._service_changed)
        self._world.pods.listen(self._pod_changed)
        self._world.nodes.listen(self._node_changed)
        self._slices.listen(self._queue)
        await self._queue.run(self._reconcile)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(key_of(changed))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _matters(old) == _matters(new):
            return
        for pod in (old, new):
            if pod is None:
                continue
            for service in self._services[pod.metadata.namespace]:
                if _selects(service, pod):
                    self._queue.add(key_of(service))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        before = old.metadata.labels.get(ZONE_LABEL) if old else None
        after = new.metadata.labels.get(ZONE_LABEL) if new else None
        if before != after:
            for key in self._world.services.items:
                self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        service = self._world.services.get(*key)
        held = self._slices.held(key)
        if service is None or service.metadata.deletion_timestamp or not _managed(service):
            for slice_ in held:
                await self._slices.delete(slice_)
            return
        pods = [p for p in self._world.pods_by_namespace[key[0]] if _selects(service, p)]
        plan = slice_plan(service, pods, held, self._zone_of)
        for slice_ in plan.create:
            await self._slices.create(_body(service, slice_))
        for slice_ in plan.update:
            await self._slices.update(_body(service, slice_), slice_.metadata.resource_version)
        for slice_ in plan.delete:
            await self._slices.delete(slice_)

    def _zone_of(self, name: str) -> str:
        node = self._world.nodes.get("", name)
        return node.metadata.labels.get(ZONE_LABEL, "") if node else ""


def _managed(service: Service) -> bool:
    """Services without selector bring their own endpoints; ExternalName has none."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def _selects(service: Service, pod: Pod) -> bool:
    return _managed(service) and selects(
        LabelSelector(match_labels=service.spec.selector), pod.metadata.labels
    )


def _matters(pod: Pod) -> object:
    """What of a pod an endpoint shows."""
    return (
        pod.metadata.uid,
        pod.metadata.labels,
        pod.metadata.deletion_timestamp,
        pod.spec,
        pod.status.phase,
        pod.status.pod_ip,
        pod.status.pod_ips,
        [c.status for c in pod.status.conditions if c.type == "Ready"],
    )


def _body(service: Service, slice_: EndpointSlice) -> dict[str, Any]:
    body = to_json(slice_)
    meta = {
        "namespace": slice_.metadata.namespace,
        "labels": slice_.metadata.labels,
        "annotations": slice_.metadata.annotations,
        "ownerReferences": [owner_reference(SERVICES, service.metadata)],
    }
    if slice_.metadata.name:
        meta["name"] = slice_.metadata.name
    else:
        meta["generateName"] = f"{service.metadata.name}-"
    # Lists and names that are empty must still be there: the API requires them.
    ports = [
        {"name": port.name, "protocol": port.protocol} | to_json(port)
        for port in slice_.ports or ()
    ]
    return body | {
        "apiVersion": ENDPOINTSLICES.api_version,
        "kind": ENDPOINTSLICES.kind,
        "metadata": meta,
        "endpoints": [to_json(endpoint) for endpoint in slice_.endpoints or ()],
        "ports": ports,
    }

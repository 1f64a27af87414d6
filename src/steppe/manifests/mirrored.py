"""EndpointSlices for Endpoints objects, as the EndpointSliceMirroring controller makes them.

"The EndpointSlice API … custom Endpoints resources … are mirrored to EndpointSlices" unless "the
Endpoints resource has a endpointslice.kubernetes.io/skip-mirror label set to true", "a
control-plane.alpha.kubernetes.io/leader annotation", or "the corresponding Service resource does
not exist" or "has a non-nil selector" (EndpointSlices: mirroring).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from steppe.kube.services import SERVICE_NAME_LABEL
from steppe.manifests.documents import Json, Objects, labels_of, readable
from steppe.manifests.endpoints import SeenService
from steppe.manifests.service_numbers import family_of

_SKIPPED = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MIRRORING = "endpointslicemirroring-controller.k8s.io"


def mirrored_slices(objects: Objects) -> Iterator[Json]:
    """The slices of Endpoints whose Service selects no pods itself, and which have none yet."""
    having = {
        (ref.namespace, labels_of(document).get(SERVICE_NAME_LABEL))
        for ref, document in objects.items()
        if ref.kind == "EndpointSlice"
    }
    services = {
        (ref.namespace, ref.name): document
        for ref, document in objects.items()
        if ref.kind == "Service"
    }
    for ref, document in sorted(objects.items(), key=lambda item: item[0]):
        name = (ref.namespace, ref.name)
        service = readable(services.get(name, {}), SeenService)
        selecting = service is None or service.spec.selecting
        if ref.kind == "Endpoints" and not selecting and name not in having and mirrors(document):
            yield from slices_of(document, *name)


def mirrors(document: Json) -> bool:
    """Whether nothing in an Endpoints object says that it is not to be mirrored."""
    annotations = document["metadata"].get("annotations") or {}
    return labels_of(document).get(_SKIPPED) != "true" and _LEADER not in annotations


def slices_of(document: Json, namespace: str, name: str) -> Iterator[Json]:
    """The slices that mirror an Endpoints object: one for each subset and family."""
    number = 0
    for subset in document.get("subsets") or ():
        for family in ("IPv4", "IPv6"):
            endpoints = [*_endpoints(subset, family)]
            if not endpoints:
                continue
            number += 1
            yield {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-mirrored-{number}",
                    "namespace": namespace,
                    "labels": {SERVICE_NAME_LABEL: name, MANAGED_BY: MIRRORING},
                },
                "addressType": family,
                "ports": [_port(port) for port in subset.get("ports") or ()],
                "endpoints": endpoints,
            }


def _endpoints(subset: Mapping[str, Any], family: str) -> Iterator[Json]:
    for field, ready in (("addresses", True), ("notReadyAddresses", False)):
        for entry in subset.get(field) or ():
            if family_of(entry.get("ip") or "") == family:
                known = {key: entry[key] for key in ("nodeName", "targetRef") if entry.get(key)}
                yield {"addresses": [entry["ip"]], "conditions": {"ready": ready}} | known


def _port(port: Mapping[str, Any]) -> Json:
    known = {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP"}
    return known | {"port": port.get("port")}

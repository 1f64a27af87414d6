"""EndpointSlices for Services that have none in the documents, as the controller would make them.

Services without a selector get none, as in a real cluster: somebody else writes their endpoints.
The controller's limit of 100 endpoints per slice is left out.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.kube import wire
from steppe.kube.objects import ZONE_LABEL, container_ports
from steppe.kube.services import HEADLESS_LABEL, SERVICE_NAME_LABEL
from steppe.manifests.documents import Json, Objects, labels_of, readable
from steppe.manifests.endpoint_plan import (
    BackPod,
    BackPorts,
    FrontPort,
    conditions,
    endpoint_plan,
)

SUFFIX = "-made"
"""The suffix of these slices' names."""


class SeenPort(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str | None = None


class SeenServiceSpec(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    selector: dict[str, str] | None = None
    ports: tuple[SeenPort, ...] | None = None
    ip_families: tuple[str, ...] | None = None
    publish_not_ready_addresses: bool = False
    traffic_distribution: str | None = None

    @property
    def selecting(self) -> bool:
        """Whether endpoints are found by labels: "If empty or not present, the service is assumed
        to have an external process managing its endpoints, which Kubernetes will not modify. …
        Ignored if type is ExternalName." (ServiceSpec.selector)
        """
        return bool(self.selector) and self.type != "ExternalName"

    def selects(self, pod: wire.Pod) -> bool:
        return (self.selector or {}).items() <= (pod.metadata.labels or {}).items()


class SeenService(msgspec.Struct, frozen=True):
    """A Service with the fields that select endpoints, which kube.services does not have."""

    metadata: wire.ObjectMeta
    spec: SeenServiceSpec = SeenServiceSpec()


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Status(wire.PodStatus, frozen=True):
    conditions: tuple[_Condition, ...] | None = None


class SeenPod(wire.Pod, frozen=True):
    status: _Status = _Status()


def made_slices(objects: Objects) -> Iterator[Json]:
    """The slices of every Service that selects pods and has none."""
    having = {
        (ref.namespace, labels_of(document).get(SERVICE_NAME_LABEL))
        for ref, document in objects.items()
        if ref.kind == "EndpointSlice"
    }
    zones = _zones(objects)
    pods: dict[str, list[SeenPod]] = {}
    for ref, document in objects.items():
        if ref.kind == "Pod" and (pod := readable(document, SeenPod)) is not None:
            pods.setdefault(ref.namespace, []).append(pod)
    for ref, document in sorted(objects.items(), key=lambda item: item[0]):
        if ref.kind != "Service" or (ref.namespace, ref.name) in having:
            continue
        service = readable(document, SeenService)
        if service is not None and service.spec.selecting:
            own = [pod for pod in pods.get(ref.namespace, ()) if service.spec.selects(pod)]
            yield from (
                _hinted(each, service, zones) for each in _slices(ref.namespace, service, own)
            )


def _zones(objects: Objects) -> Mapping[str, str]:
    """The zones of nodes that say theirs."""
    found = {
        ref.name: labels_of(document).get(ZONE_LABEL, "")
        for ref, document in objects.items()
        if ref.kind == "Node"
    }
    return {name: zone for name, zone in found.items() if zone}


def _hinted(slice_: Json, service: SeenService, zones: Mapping[str, str]) -> Json:
    """The slice with the hints of the Service's trafficDistribution.

    "PreferSameZone … indicates a preference for routing traffic to endpoints that are in the same
    zone as the client", "PreferSameNode … on the same node as the client, falling back to …
    zone"; PreferClose is an older name of the former (ServiceSpec.trafficDistribution).
    """
    wanted = service.spec.traffic_distribution
    if wanted not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return slice_
    for endpoint in slice_["endpoints"]:
        node = endpoint["nodeName"]
        hints: Json = {}
        if node in zones:
            endpoint["zone"] = zones[node]
            hints["forZones"] = [{"name": zones[node]}]
        if node and wanted == "PreferSameNode":
            hints["forNodes"] = [{"name": node}]
        if hints:
            endpoint["hints"] = hints
    return slice_


def _slices(namespace: str, service: SeenService, pods: Iterable[SeenPod]) -> Iterator[Json]:
    """One slice for each family and set of ports, in the order of the Service's families."""
    spec = service.spec
    fronts = [front_port(port) for port in spec.ports or ()]
    plan = endpoint_plan(spec.ip_families or ("IPv4", "IPv6"), fronts, pods, _back_pod)
    for number, ((family, ports), held) in enumerate(plan.items(), 1):
        suffix = SUFFIX if number == 1 else f"{SUFFIX}-{number}"
        endpoints = [_endpoint(spec, namespace, pod, address) for pod, address in held]
        yield _slice(namespace, service, suffix, family, (ports, endpoints))


def _slice(
    namespace: str,
    service: SeenService,
    suffix: str,
    family: str,
    held: tuple[BackPorts, list[Json]],
) -> Json:
    name = service.metadata.name
    labels = {SERVICE_NAME_LABEL: name}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS_LABEL] = ""
    ports, endpoints = held
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}{suffix}", "namespace": namespace, "labels": labels},
        "addressType": family,
        "ports": [{"name": p.name, "protocol": p.protocol, "port": p.number} for p in ports],
        "endpoints": endpoints,
    }


def _endpoint(spec: SeenServiceSpec, namespace: str, pod: SeenPod, address: str) -> Json:
    found = conditions(
        ready=_is_ready(pod.status),
        deleted=pod.metadata.deletion_timestamp is not None,
        publish_not_ready=spec.publish_not_ready_addresses,
    )
    return {
        "addresses": [address],
        "conditions": msgspec.to_builtins(found),
        "nodeName": pod.spec.node_name or None,
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod.metadata.name},
    }


def _is_ready(status: _Status) -> bool:
    """By the pod's Ready condition; by its phase if it has no conditions."""
    if status.conditions is None:
        return status.phase in ("", "Running")
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions)


def front_port(port: SeenPort) -> FrontPort:
    return FrontPort(port.name, port.protocol, port.port, port.target_port)


def _back_pod(pod: SeenPod) -> BackPod:
    several = tuple(entry.ip for entry in pod.status.pod_ips or ())
    addresses = several or (pod.status.pod_ip,)
    ports = tuple(container_ports(pod.spec))
    return BackPod(pod.metadata.name, pod.status.phase, addresses, ports)

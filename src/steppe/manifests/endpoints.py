"""EndpointSlices for Services whose slices the documents do not hold, as the controller makes them.

Services without a selector get none: their endpoints are somebody's own to write down. What is
left out of the controller's work is what decides nothing here: the limit of 100 endpoints a slice
and hints by zone.
"""

from collections.abc import Iterable, Iterator

import msgspec

from steppe.kube import wire
from steppe.kube.services import HEADLESS_LABEL, SERVICE_NAME_LABEL
from steppe.manifests.documents import Json, Objects, labels_of, readable

SUFFIX = "-made"
"""What the names of these slices end in."""


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
    """A Service with what `kube.services` drops: how its endpoints are found."""

    metadata: wire.ObjectMeta
    spec: SeenServiceSpec = SeenServiceSpec()


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Status(wire.PodStatus, frozen=True):
    conditions: tuple[_Condition, ...] | None = None


class SeenPod(wire.Pod, frozen=True):
    status: _Status = _Status()


Ports = tuple[tuple[str, str, int], ...]


def made_slices(objects: Objects) -> Iterator[Json]:
    """The slices of every Service that selects pods and has none."""
    having = {
        (ref.namespace, labels_of(document).get(SERVICE_NAME_LABEL))
        for ref, document in objects.items()
        if ref.kind == "EndpointSlice"
    }
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
            yield from _slices(ref.namespace, service, own)


def _slices(namespace: str, service: SeenService, pods: Iterable[SeenPod]) -> Iterator[Json]:
    """One slice a family and set of ports: a named port may be another number in each pod."""
    ordered = sorted(pods, key=lambda pod: pod.metadata.name)
    number = 0
    for family in service.spec.ip_families or ("IPv4", "IPv6"):
        groups: dict[Ports, list[Json]] = {}
        for pod in ordered:
            address = _address(pod, family)
            # "pods that are terminal, or have no address yet, are never endpoints"
            if address and pod.status.phase not in ("Succeeded", "Failed"):
                group = groups.setdefault(_ports(service.spec, pod), [])
                group.append(_endpoint(service.spec, namespace, pod, address))
        # An empty slice says "looked, and found none".
        for ports, endpoints in (groups or {(): []}).items():
            number += 1
            suffix = SUFFIX if number == 1 else f"{SUFFIX}-{number}"
            yield _slice(namespace, service, suffix, family, (ports, endpoints))


def _slice(
    namespace: str, service: SeenService, suffix: str, family: str, held: tuple[Ports, list[Json]]
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
        "ports": [{"name": n, "protocol": protocol, "port": port} for n, protocol, port in ports],
        "endpoints": endpoints,
    }


def _endpoint(spec: SeenServiceSpec, namespace: str, pod: SeenPod, address: str) -> Json:
    serving = _is_ready(pod.status)
    terminating = pod.metadata.deletion_timestamp is not None
    return {
        "addresses": [address],
        "conditions": {
            "ready": spec.publish_not_ready_addresses or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": pod.spec.node_name or None,
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod.metadata.name},
    }


def _is_ready(status: _Status) -> bool:
    """By its Ready condition; of a pod whose conditions were cut away, by its phase."""
    if status.conditions is None:
        return status.phase in ("", "Running")
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions)


def _ports(spec: SeenServiceSpec, pod: SeenPod) -> Ports:
    """The Service's ports as numbers of this pod; a name the pod does not have is left out."""
    found = ((port, target_port(port, pod)) for port in spec.ports or ())
    return tuple(sorted((p.name, p.protocol, number) for p, number in found if number))


def target_port(port: SeenPort, pod: wire.Pod) -> int:
    """The pod's port that the Service's port leads to; 0 where the pod has none of that name."""
    target = port.target_port
    # "If this is not specified, the value of the 'port' field is used (an identity map)."
    # (ServicePort.targetPort)
    if not target:
        return port.port
    if isinstance(target, int):
        return target
    # "If this is a string, it will be looked up as a named port in the target Pod's container
    # ports." (ServicePort.targetPort)
    sidecars = (c for c in pod.spec.init_containers or () if c.restart_policy == "Always")
    for container in (*(pod.spec.containers or ()), *sidecars):
        for offered in container.ports or ():
            if (offered.name, offered.protocol) == (target, port.protocol):
                return offered.container_port
    return 0


def _address(pod: SeenPod, family: str) -> str:
    """The pod's address of this family; one that is no address is told where pods are checked."""
    texts = [entry.ip for entry in pod.status.pod_ips or ()] or [pod.status.pod_ip]
    return next((text for text in texts if text and (":" in text) == (family == "IPv6")), "")

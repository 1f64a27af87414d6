"""Which EndpointSlices a Service should have. Pure.

A set of slices a family and a set of ports (a named target port may mean different numbers in
different pods), at most 100 endpoints each. What is right already stays where it is, so that one
pod that comes or goes changes one slice.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from steppe_lab.controllers.objects import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Metadata,
    Pod,
    Service,
    ServicePort,
    SlicePort,
    TargetReference,
)
from steppe_lab.controllers.podcontrol import FINISHED, is_ready

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
MAX_ENDPOINTS = 100

Ports = tuple[SlicePort, ...]
ZoneOf = Callable[[str], str]


class SlicePlan(msgspec.Struct, frozen=True):
    """What makes a Service's slices right."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()


def slice_plan(
    service: Service, pods: Iterable[Pod], existing: Iterable[EndpointSlice], zone_of: ZoneOf
) -> SlicePlan:
    """The changes to the slices, for the pods that the Service selects."""
    wanted = _wanted(service, pods, zone_of)
    labels = _labels(service)
    groups: dict[tuple[str, Ports], list[EndpointSlice]] = defaultdict(list)
    for slice_ in existing:
        groups[slice_.address_type, slice_.ports or ()].append(slice_)
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete: list[EndpointSlice] = []
    for group in groups.keys() - wanted.keys():
        delete += groups[group]
    for (family, ports), endpoints in wanted.items():
        held = sorted(groups.get((family, ports), []), key=lambda s: s.metadata.name)
        kept, fresh = _distribute(endpoints, held)
        for before, after in zip(held, kept, strict=True):
            if not after and (endpoints or before is not held[0]):
                delete.append(before)
            elif (
                after != (before.endpoints or ())
                or not labels.items() <= before.metadata.labels.items()
            ):
                update.append(_slice(before, family, ports, after, labels))
        if fresh or not held:
            unnamed = EndpointSlice(Metadata(namespace=service.metadata.namespace))
            create += [_slice(unnamed, family, ports, part, labels) for part in fresh or [()]]
    return SlicePlan(tuple(create), tuple(update), tuple(delete))


def families(service: Service) -> tuple[str, ...]:
    """The address families of a Service; of one that does not say, those of its cluster IP."""
    if service.spec.ip_families:
        return service.spec.ip_families
    return ("IPv6",) if ":" in service.spec.cluster_ip else ("IPv4",)


def _wanted(
    service: Service, pods: Iterable[Pod], zone_of: ZoneOf
) -> dict[tuple[str, Ports], dict[str, Endpoint]]:
    """Endpoints by uid of their pod, for each family and set of ports."""
    wanted: dict[tuple[str, Ports], dict[str, Endpoint]] = {}
    addressed = sorted(pods, key=lambda pod: pod.metadata.name)
    for family in families(service):
        for pod in addressed:
            # "pods that are terminal, or have no address yet, are never endpoints"
            address = _address(pod, family)
            if address and pod.status.phase not in FINISHED:
                group = wanted.setdefault((family, _ports(service, pod)), {})
                group[pod.metadata.uid] = _endpoint(service, pod, address, zone_of)
        if not any(held_family == family for held_family, _ in wanted):
            # An empty slice says "looked, and found none".
            wanted[family, ()] = {}
    return wanted


def _address(pod: Pod, family: str) -> str:
    candidates = [entry.ip for entry in pod.status.pod_ips] or [pod.status.pod_ip]
    for text in candidates:
        try:
            if f"IPv{ipaddress.ip_address(text).version}" == family:
                return text
        except ValueError:
            continue
    return ""


def _ports(service: Service, pod: Pod) -> Ports:
    """The Service's ports as numbers of this pod; a name the pod does not have is left out."""
    found = []
    for port in service.spec.ports:
        number = target_port(port, pod)
        if number is not None:
            found.append(SlicePort(port.name, port.protocol, number, port.app_protocol))
    return tuple(sorted(found, key=lambda p: (p.name, p.protocol, p.port or 0)))


def target_port(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port
    if isinstance(target, int) or (isinstance(target, str) and target.isdigit()):
        # "If this is not specified, the value of the 'port' field is used (an identity map)."
        return int(target) or port.port
    if not target:
        return port.port
    # Init containers that restart always are sidecars: they run beside the others.
    sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for offered in container.ports:
            if offered.name == target and offered.protocol == port.protocol:
                return offered.container_port
    return None


def _endpoint(service: Service, pod: Pod, address: str, zone_of: ZoneOf) -> Endpoint:
    meta, spec = pod.metadata, pod.spec
    serving = is_ready(pod)
    terminating = meta.deletion_timestamp is not None
    named = spec.hostname and spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(
            # "ready … should never be true for terminating endpoints, except when the normal
            # readiness behavior is being explicitly overridden" by publishNotReadyAddresses
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=spec.hostname if named else None,
        node_name=spec.node_name or None,
        zone=zone_of(spec.node_name) or None,
        target_ref=TargetReference("Pod", meta.namespace, meta.name, meta.uid),
    )


def _distribute(
    wanted: Mapping[str, Endpoint], held: list[EndpointSlice]
) -> tuple[list[tuple[Endpoint, ...]], list[tuple[Endpoint, ...]]]:
    """The new content of each slice held, and of the slices to make."""
    left = dict(wanted)
    kept: list[list[Endpoint]] = []
    for slice_ in held:
        uids = [e.target_ref.uid if e.target_ref else "" for e in slice_.endpoints or ()]
        kept.append([left.pop(uid) for uid in uids if uid in left])
    waiting = list(left.values())
    for content in kept:
        room = MAX_ENDPOINTS - len(content)
        if content or not any(kept):  # rather fill a slice in use than revive an empty one
            content.extend(waiting[:room])
            waiting = waiting[room:]
    fresh = [
        tuple(waiting[start : start + MAX_ENDPOINTS])
        for start in range(0, len(waiting), MAX_ENDPOINTS)
    ]
    return [tuple(content) for content in kept], fresh


def _labels(service: Service) -> dict[str, str]:
    own = {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        own[HEADLESS] = ""
    return {**service.metadata.labels, **own}


def _slice(
    before: EndpointSlice,
    family: str,
    ports: Ports,
    endpoints: tuple[Endpoint, ...],
    labels: dict[str, str],
) -> EndpointSlice:
    meta = msgspec.structs.replace(before.metadata, labels={**before.metadata.labels, **labels})
    return EndpointSlice(meta, family, endpoints, ports)

"""Which EndpointSlices a Service should have. Pure.

The endpoints come from manifests/endpoint_plan.py. Each family and set of ports has its own slices,
with at most 100 endpoints each. Correct endpoints stay in their slice, so that one pod that comes
or goes changes one slice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from steppe.kube.objects import NamedPort
from steppe.kube.services import HEADLESS_LABEL, SERVICE_NAME_LABEL
from steppe.manifests.endpoint_plan import BackPod, BackPort, FrontPort, conditions, endpoint_plan
from steppe.manifests.mirrored import MANAGED_BY
from steppe_lab.controllers.objects import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Metadata,
    Pod,
    Service,
    SlicePort,
    TargetReference,
)
from steppe_lab.controllers.podcontrol import is_ready

MANAGER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100

Ports = tuple[SlicePort, ...]
ZoneOf = Callable[[str], str]


class SlicePlan(msgspec.Struct, frozen=True):
    """The changes that make a Service's slices correct."""

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
    fronts = [
        FrontPort(port.name, port.protocol, port.port, port.target_port, port.app_protocol)
        for port in service.spec.ports
    ]
    plan = endpoint_plan(families(service), fronts, pods, _back_pod)
    return {
        (family, tuple(map(_slice_port, ports))): {
            pod.metadata.uid: _endpoint(service, pod, address, zone_of) for pod, address in held
        }
        for (family, ports), held in plan.items()
    }


def _back_pod(pod: Pod) -> BackPod:
    # Init containers that restart always are sidecars: they run beside the others.
    sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    ports = (
        NamedPort(port.name, port.protocol, port.container_port)
        for container in (*pod.spec.containers, *sidecars)
        for port in container.ports
    )
    addresses = tuple(entry.ip for entry in pod.status.pod_ips) or (pod.status.pod_ip,)
    return BackPod(pod.metadata.name, pod.status.phase, addresses, tuple(ports))


def _slice_port(port: BackPort) -> SlicePort:
    return SlicePort(port.name, port.protocol, port.number, port.app_protocol)


def _endpoint(service: Service, pod: Pod, address: str, zone_of: ZoneOf) -> Endpoint:
    meta, spec = pod.metadata, pod.spec
    found = conditions(
        ready=is_ready(pod),
        deleted=meta.deletion_timestamp is not None,
        publish_not_ready=service.spec.publish_not_ready_addresses,
    )
    named = spec.hostname and spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(found.ready, found.serving, found.terminating),
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
    own = {SERVICE_NAME_LABEL: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        own[HEADLESS_LABEL] = ""
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

"""Why no Service or no address takes a packet, and which objects would have to change.

service.py and network.py decide that a packet stops; this module finds the reason. Sentences for it
are in explain/stop_reasons.py.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.services import EndpointSlice, Service, ServicePort
from steppe.net.packet import Packet

Reason = Literal[
    "no endpoint",
    "other family",
    "other port name",
    "not admitted",
    "no local endpoint",
    "no such port",
    "service range",
    "pod from outside",
    "cluster IP from outside",
    "unknown from outside",
    "no pod",
    "forged source",
]


class Stop(msgspec.Struct, frozen=True):
    """Why a packet stops.

    no endpoint              the Service has none that may be used, of `endpoints` in all
    other family             the Service has endpoints, but none of the packet's family
    other port name          its slices have endpoints, but no port of the name of the Service's
    not admitted             the sender is in no prefix of loadBalancerSourceRanges
    no local endpoint        the traffic policy is Local and `node` has no endpoint
    no such port             a cluster IP of `service`, on a port that it does not have
    service range            an address of a service range that no Service has
    pod from outside         a pod's address, dialled from outside the cluster
    cluster IP from outside  a cluster IP of `service`, dialled from outside the cluster
    unknown from outside     no node takes packets from outside for the address
    no pod                   an address of a pod prefix that no pod has
    forged source            the packet's source is none of its sender's addresses
    """

    reason: Reason
    packet: Packet
    because: tuple[Cause, ...] = ()
    service: Service | None = None
    endpoints: int = 0
    node: str = ""


def at_service(cluster: Cluster, packet: Packet, node: str) -> Stop:
    """Why a Service stops a packet on this node."""
    found = sorted(
        (service.created, service.ref, service, port)
        for service in named_by(cluster, packet)
        for port in service.ports
        if _is_dialled(service, port, packet)
    )
    if not found:
        return _no_port(cluster, packet)
    _, ref, service, port = found[0]
    own = cluster.slices_of(service)
    endpoints, usable = _counted(own, port, packet)
    if not usable:
        because = (Cause(ref), *(Cause(slice_.ref) for slice_ in own))
        reason: Reason = "no endpoint" if endpoints else _why_none(own, port, packet)
        return Stop(reason, packet, because, service, endpoints)
    if packet.destination in service.load_balancer_ips and service.restricted:
        because = (Cause(ref, "spec.loadBalancerSourceRanges"),)
        if not any(packet.source in range_ for range_ in service.source_ranges):
            return Stop("not admitted", packet, because, service)
    internal = packet.destination in service.cluster_ips
    field = "spec.internalTrafficPolicy" if internal else "spec.externalTrafficPolicy"
    return Stop("no local endpoint", packet, (Cause(ref, field),), service, node=node)


def at_nobody(cluster: Cluster, packet: Packet, *, from_outside: bool) -> Stop:
    """Why the packet's destination reaches no one."""
    if cluster.pods_at(packet.destination):
        return Stop("pod from outside", packet)
    if not from_outside:
        return Stop("no pod", packet)
    for service in cluster.services_at(packet.destination):
        if packet.destination in service.cluster_ips:
            because = (Cause(service.ref, "spec.type"),)
            return Stop("cluster IP from outside", packet, because, service)
    return Stop("unknown from outside", packet)


def named_by(cluster: Cluster, packet: Packet) -> tuple[Service, ...]:
    """The Services that have the packet's destination, or its destination port as a node port."""
    by_address = cluster.services_at(packet.destination)
    by_node_port = cluster.services_on(packet.protocol, packet.destination_port)
    found = {service.ref: service for service in (*by_address, *by_node_port)}
    return tuple(found.values())


def _is_dialled(service: Service, port: ServicePort, packet: Packet) -> bool:
    if port.protocol != packet.protocol:
        return False
    if packet.destination in service.addresses:
        return port.port == packet.destination_port
    return port.node_port == packet.destination_port


def _no_port(cluster: Cluster, packet: Packet) -> Stop:
    for service in cluster.services_at(packet.destination):
        if packet.destination in service.cluster_ips:
            return Stop("no such port", packet, (Cause(service.ref, "spec.ports"),), service)
    ranges = tuple(Cause(known.ref, "spec.cidrs") for known in cluster.service_ranges.values())
    return Stop("service range", packet, ranges)


def _why_none(slices: Iterable[EndpointSlice], port: ServicePort, packet: Packet) -> Reason:
    version = packet.destination.version
    held = [(s, e.address.version) for s in slices for e in s.endpoints if s.ports]
    if any(slice_.port(port) and own != version for slice_, own in held):
        return "other family"
    named = any(not slice_.port(port) and own == version for slice_, own in held)
    return "other port name" if named else "no endpoint"


def _counted(slices: Iterable[EndpointSlice], port: ServicePort, packet: Packet) -> tuple[int, int]:
    """The number of endpoints for the packet, and the number of usable ones."""
    endpoints = [
        endpoint
        for slice_ in slices
        if slice_.port(port)
        for endpoint in slice_.endpoints
        if endpoint.address.version == packet.destination.version
    ]
    return len(endpoints), sum(e.ready or (e.serving and e.terminating) for e in endpoints)

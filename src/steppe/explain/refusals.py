"""Why a packet gets no further for want of a Service or an address, in words.

That it gets no further is for the spec to say.
"""

from collections.abc import Iterable

from steppe.explain.say import listed, named, traffic
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.services import EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress
from steppe.net.packet import Packet

Refusal = tuple[str, tuple[Cause, ...]]


def refusal(part: Cluster, packet: Packet, node: str) -> Refusal:
    """The reason, and the objects that would have to change."""
    found = sorted(
        (service.created, service.ref, service, port)
        for service in part.services.values()
        for port in service.ports
        if _dials(service, port, packet)
    )
    if not found:
        return _no_port(part, packet)
    _, ref, service, port = found[0]
    own = [s for s in part.slices.values() if (s.namespace, s.service) == (ref.namespace, ref.name)]
    known, usable = _counted(own, port, packet)
    if not usable:
        which = f": none of its {known} is ready" if known else " at all"
        return f"{named(ref)} has no endpoint{which}", (Cause(ref), *(Cause(s.ref) for s in own))
    if packet.destination in service.load_balancer_ips and service.restricted:
        cause = Cause(ref, "spec.loadBalancerSourceRanges")
        if not any(packet.source in range_ for range_ in service.source_ranges):
            return f"{named(ref)} takes load balancer traffic from its source ranges only", (cause,)
    internal = packet.destination in service.cluster_ips
    field = "spec.internalTrafficPolicy" if internal else "spec.externalTrafficPolicy"
    text = f"{named(ref)} keeps traffic on its node ({field.partition('.')[2]}: Local), and {node} "
    return text + "has none of its endpoints", (Cause(ref, field),)


def unreached(part: Cluster, destination: IPAddress, *, from_outside: bool) -> Refusal:
    """The reason why nobody is reached at an address."""
    pods = [p for p in part.pods.values() if destination in p.addresses and not p.finished]
    if pods:
        return "only nodes are promised to be reached from outside; a pod needs a Service", ()
    services = [s for s in part.services.values() if destination in s.cluster_ips]
    if from_outside and services:
        (service, *_) = services
        only = f"{destination} is a cluster IP, for the cluster alone, and {named(service.ref)}"
        return f"{only} {_inside(service)}", (Cause(service.ref, "spec.type"),)
    if from_outside:
        return f"nothing here takes packets from outside for {destination}", ()
    return f"no pod has {destination}", ()


def _inside(service: Service) -> str:
    """Why a Service has no way in from outside."""
    match service.type:
        case "LoadBalancer":
            return "has neither an address from its load balancer yet nor a node port"
        case "NodePort":
            return "has no node port yet: the API server picks it, or spec.ports[].nodePort says it"
        case _:
            return f"has no other: it is of type {service.type}, not NodePort or LoadBalancer"


def _dials(service: Service, port: ServicePort, packet: Packet) -> bool:
    if port.protocol != packet.protocol:
        return False
    own = (*service.cluster_ips, *service.external_ips, *service.load_balancer_ips)
    if packet.destination in own:
        return port.port == packet.destination_port
    return port.node_port == packet.destination_port


def _no_port(part: Cluster, packet: Packet) -> Refusal:
    for service in part.services.values():
        if packet.destination in service.cluster_ips:
            ports = [f"{port.protocol} {port.port}" for port in service.ports]
            text = f"{named(service.ref)} has no port {traffic(packet)}"
            cause = Cause(service.ref, "spec.ports")
            return text + (f", only {listed(ports)}" if ports else ""), (cause,)
    ranges = tuple(Cause(known.ref, "spec.cidrs") for known in part.service_ranges.values())
    return f"{packet.destination} is kept for Services, and none has it", ranges


def _counted(slices: Iterable[EndpointSlice], port: ServicePort, packet: Packet) -> tuple[int, int]:
    """How many endpoints there are for the packet, and how many of them may be used."""
    endpoints = [
        endpoint
        for slice_ in slices
        if slice_.port(port)
        for endpoint in slice_.endpoints
        if endpoint.address.version == packet.destination.version
    ]
    return len(endpoints), sum(e.ready or (e.serving and e.terminating) for e in endpoints)

"""The text for why no Service or address takes a packet (oracle/stop.py)."""

from collections.abc import Callable

from steppe.explain.sentences import listed, object_text, traffic
from steppe.kube.services import Service, ServicePort
from steppe.oracle.stop import Stop


def reason_of(stop: Stop | None) -> str:
    """The reason, as a part of a sentence; "" for None."""
    if stop is None:
        return ""
    if stop.service is not None:
        return _of_service(stop, stop.service)
    destination = stop.packet.destination
    match stop.reason:
        case "pod from outside":
            text = "only nodes are promised to be reached from outside; a pod needs a Service"
        case "unknown from outside":
            text = f"nothing here takes packets from outside for {destination}"
        case "forged source":
            text = f"{stop.packet.source} is no address of {object_text(stop.because[0].ref)}"
        case "service range":
            text = f"{destination} is kept for Services, and none has it"
        case _:
            text = f"no pod has {destination}"
    return text


def _of_service(stop: Stop, service: Service) -> str:
    who, destination = object_text(service.ref), stop.packet.destination
    match stop.reason:
        case "no endpoint" | "other family" | "other port name":
            return _no_endpoint(stop, who)
        case "not admitted":
            return f"{who} takes load balancer traffic from its source ranges only"
        case "no such port" if any(map(_is_to(stop), service.unserved)):
            more = f"{len(service.unserved)} of its ports are not served"
            return f"{who} is too large for its nodes, so {more}, {traffic(stop.packet)} among them"
        case "no such port":
            ports = [f"{port.protocol} {port.port}" for port in service.ports]
            text = f"{who} has no port {traffic(stop.packet)}"
            return text + (f", only {listed(ports)}" if ports else "")
        case "cluster IP from outside":
            only = f"{destination} is a cluster IP, for the cluster alone, and {who}"
            return f"{only} {_way_in(service)}"
        case _:
            internal = destination in service.cluster_ips
            field = "internalTrafficPolicy" if internal else "externalTrafficPolicy"
            text = f"{who} keeps traffic on its node ({field}: Local), and {stop.node} "
            return text + "has none of its endpoints"


def _is_to(stop: Stop) -> Callable[[ServicePort], bool]:
    sent = (stop.packet.protocol, stop.packet.destination_port)
    return lambda port: (port.protocol, port.port) == sent


def _no_endpoint(stop: Stop, who: str) -> str:
    match stop.reason:
        case "other family":
            version = stop.packet.destination.version
            return f"{who} has no IPv{version} endpoint, only IPv{10 - version} ones"
        case "other port name":
            slices = listed(object_text(each.ref) for each in stop.because[1:])
            return (
                f"{who} has no endpoint on {traffic(stop.packet)}: the ports of {slices} have "
                "another name or protocol than the Service's"
            )
        case _:
            which = f": none of its {stop.endpoints} is ready" if stop.endpoints else " at all"
            return f"{who} has no endpoint{which}"


def _way_in(service: Service) -> str:
    """Why a Service cannot be reached from outside."""
    match service.type:
        case "LoadBalancer" if service.load_balancer_hosts:
            hosts = listed(service.load_balancer_hosts)
            return f"has no node port; what {hosts} leads to, only that load balancer knows"
        case "LoadBalancer":
            return "has neither an address from its load balancer yet nor a node port"
        case "NodePort":
            return "has no node port yet: the API server picks it, or spec.ports[].nodePort says it"
        case _:
            return f"has no other: it is of type {service.type}, not NodePort or LoadBalancer"

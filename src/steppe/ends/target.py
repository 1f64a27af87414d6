"""The target of one end of a flow: what a parsed end (ends/parse.py) means in a cluster.

A flow has one sender and one destination. So a workload means its first pod, and a pattern or a
namespace is an error (UnknownEndError). For a name without a match the error has suggestions.
"""

import msgspec

from steppe.ends.end import (
    AddressEnd,
    HostEnd,
    InternetEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    PodEnd,
    PrefixEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
    Written,
    is_pattern,
)
from steppe.ends.known import no_match, no_namespace, pod_called, service_behind, service_called
from steppe.ends.parse import parse_end
from steppe.ends.relative import whole
from steppe.ends.workloads import are_one, pods_of
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix, parse_prefix

_NEAR = 3
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))


class PodTarget(msgspec.Struct, frozen=True):
    """A pod, with those of its addresses that are meant."""

    pod: Pod
    addresses: tuple[IPAddress, ...]

    def __str__(self) -> str:
        return f"{self.pod.namespace}/{self.pod.name}"


class NodeTarget(msgspec.Struct, frozen=True):
    """A node itself: its processes and its host-network pods."""

    node: Node
    addresses: tuple[IPAddress, ...]

    def __str__(self) -> str:
        return f"node/{self.node.name}"


class ServiceTarget(msgspec.Struct, frozen=True):
    """A Service, with those of its addresses that are meant."""

    service: Service
    addresses: tuple[IPAddress, ...]

    def __str__(self) -> str:
        return f"svc/{self.service.namespace}/{self.service.name}"


class RangeTarget(msgspec.Struct, frozen=True):
    """Addresses that are no pod's, node's or Service's; `public` leaves private ones out."""

    text: str
    prefixes: tuple[IPNetwork, ...]
    public: bool = False

    @property
    def address(self) -> IPAddress | None:
        """The address, if there is exactly one; else None."""
        (first, *more) = self.prefixes
        return first.network_address if not more and first.num_addresses == 1 else None

    def __str__(self) -> str:
        return self.text


Target = PodTarget | NodeTarget | ServiceTarget | RangeTarget


class Named(msgspec.Struct, frozen=True):
    """A target, the port and protocol written after it, and a note on how it was understood."""

    target: Target
    port: str = ""
    protocol: str = ""
    note: str = ""


def resolve(cluster: Cluster, text: str, namespace: str = "") -> Named:
    """The target of the text; UnknownEndError says why there is none.

    Short names are relative to `namespace`, "" for none (ends/relative.py).
    """
    written = parse_end(text)
    if missing := no_namespace(cluster, namespace):
        raise UnknownEndError(missing)
    end = whole(cluster, written.end, namespace)
    written = msgspec.structs.replace(written, end=end)
    found = _resolved(cluster, written)
    return msgspec.structs.replace(found, port=written.port, protocol=written.protocol)


def _resolved(cluster: Cluster, written: Written) -> Named:
    if is_pattern(written.end) or isinstance(written.end, NamespaceEnd):
        raise UnknownEndError(f"{written.end} may be several ends, and a flow has one: name it")
    target: Target
    match written.end:
        case NameEnd() | PodEnd() | WorkloadEnd():
            return _of_pods(cluster, written.end)
        case InternetEnd():
            target = RangeTarget("internet", _EVERYWHERE, public=True)
        case PrefixEnd(prefix, text):
            target = RangeTarget(text, (prefix,))
        case AddressEnd(address):
            target = _holder(cluster, address)
        case HostEnd():
            return _named_in_dns(cluster, written.end)
        case ServiceEnd():
            target = _to_service(cluster, _service(cluster, written.end))
        case NodeEnd():
            target = _node(cluster, written.end)
    return Named(target)


def _named_in_dns(cluster: Cluster, end: HostEnd) -> Named:
    service, pod = service_called(cluster, end.host), pod_called(cluster, end.host)
    service = service or service_behind(cluster, end.host)
    if pod is not None:
        return _of_pod(cluster, pod)
    if service is None:
        raise no_match(cluster, end)
    return Named(_to_service(cluster, service))


def _of_pods(cluster: Cluster, end: NameEnd | PodEnd | WorkloadEnd) -> Named:
    if isinstance(end, WorkloadEnd):
        return _one_of(cluster, end)
    if isinstance(end, NameEnd) and not end.namespace:
        return _anywhere(cluster, end)
    return _pod(cluster, end)


def _holder(cluster: Cluster, address: IPAddress) -> Target:
    for pod in cluster.pods_at(address):
        return PodTarget(pod, (address,))
    for node in cluster.nodes_at(address):
        return NodeTarget(node, (address,))
    for service in cluster.services_at(address):
        return ServiceTarget(service, (address,))
    return RangeTarget(str(address), (host_prefix(address),))


def _service(cluster: Cluster, end: ServiceEnd) -> Service:
    if end.namespace:
        service = cluster.services.get((end.namespace, end.name))
        found = [service] if service is not None else []
    else:
        found = [service for (_, name), service in cluster.services.items() if name == end.name]
    if not found:
        raise no_match(cluster, end)
    if len(found) > 1:
        names = ", ".join(sorted(f"svc/{each.namespace}/{each.name}" for each in found))
        raise UnknownEndError(f"{end} is the name of several Services: say which of {names}")
    return found[0]


def _to_service(cluster: Cluster, service: Service) -> ServiceTarget:
    """A Service with its own addresses; a headless one with those that DNS returns."""
    if not service.headless:
        return ServiceTarget(service, service.cluster_ips)
    endpoints = (each for slice_ in cluster.slices_of(service) for each in slice_.headless)
    return ServiceTarget(service, tuple(dict.fromkeys(e.address for e in endpoints if e.ready)))


def _node(cluster: Cluster, end: NodeEnd) -> NodeTarget:
    node = cluster.nodes.get(end.name)
    if node is None:
        raise no_match(cluster, end)
    if not node.addresses:
        raise UnknownEndError(
            f"node {node.name} has no InternalIP, so nothing can be sent to or from it"
        )
    return NodeTarget(node, node.addresses)


def _pod(cluster: Cluster, end: NameEnd | PodEnd) -> Named:
    pod = cluster.pods.get((end.namespace, end.name))
    if pod is not None:
        return _of_pod(cluster, pod)
    if not pods_of(cluster, end.namespace, end.name):
        raise no_match(cluster, end)
    return _one_of(cluster, end)


def _of_pod(cluster: Cluster, pod: Pod) -> Named:
    name = f"pod {pod.namespace}/{pod.name}"
    if pod.finished:
        raise UnknownEndError(f"{name} has finished, so it has no network any more")
    if not pod.node:
        raise UnknownEndError(f"{name} is not on a node yet, so it has no network")
    if not pod.addresses:
        raise UnknownEndError(f"{name} has no address yet: look at its events on node {pod.node}")
    if pod.host_network:
        # A host-network pod sends as its node: no policy and no table can distinguish them.
        note = f"{pod.namespace}/{pod.name} uses the network of its node, {pod.node}"
        return Named(_node(cluster, NodeEnd(pod.node)), note=note)
    return Named(PodTarget(pod, pod.addresses))


def _anywhere(cluster: Cluster, end: NameEnd) -> Named:
    """A name without a namespace: of one pod, of a Service in DNS, or of one workload."""
    found = cluster.pods_named(end.name)
    if len(found) == 1:
        return _of_pod(cluster, found[0])
    if found:
        names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in found))
        raise UnknownEndError(f"{end.name!r} is the name of several pods: say which of {names}")
    looks = (service_called, pod_called, service_behind)
    if "." in end.name and any(look(cluster, end.name) for look in looks):
        return _named_in_dns(cluster, HostEnd(end.name))
    having = sorted({pod.namespace for pod in pods_of(cluster, "", end.name)})
    # If a Service has the name too, the name is ambiguous.
    if len(having) != 1 or any(name == end.name for _, name in cluster.services):
        raise no_match(cluster, end)
    return _one_of(cluster, NameEnd(having[0], end.name))


def _one_of(cluster: Cluster, end: WorkloadEnd | NameEnd | PodEnd) -> Named:
    """The first pod of a workload."""
    pods = pods_of(cluster, end.namespace, end.name)
    if not pods:
        raise no_match(cluster, end)
    if not are_one(pods):
        names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:_NEAR])
        raise UnknownEndError(
            f"{end} may be several workloads, as its pods' labels differ: say which pod, such as "
            f"{names}"
        )
    first, *others = pods
    found = _of_pod(cluster, first)
    note = f"{end} is {first.namespace}/{first.name}"
    note += f", the first of its {len(others) + 1} pods" if others else ""
    return msgspec.structs.replace(found, note=found.note or note)

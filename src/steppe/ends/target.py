"""Who is meant by what people write for SRC and DST.

    shop/web-1  pod/shop/web-1  web-1     a pod; its name alone where only one has it
    deploy/shop/web  shop/web             the first pod of a workload, told by its name
    svc/shop/db  svc/shop/db:5432  svc/shop/db:sql      a Service, and a port of it
    db.shop  http://db.shop.svc.cluster.local:8080/     the same by its DNS name
    node/node-a
    10.244.1.5  [fd00::5]:80              whoever holds the address; nobody's is outside
    192.0.2.0/24  internet                everyone there who is not of the cluster

A port may follow any of them but a bare IPv6 address. What is not there, or is not one thing, is
an UnknownTargetError that names what was probably meant.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import urlsplit

import msgspec

from steppe.ends.workloads import are_one, pods_of
from steppe.errors import SteppeError
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Service
from steppe.net.address import (
    IPAddress,
    IPNetwork,
    host_prefix,
    parse_address,
    parse_prefix,
)

_NEAR = 3
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))
_WORKLOADS = frozenset(
    {"deploy", "deployment", "rs", "replicaset", "sts", "statefulset", "ds", "daemonset", "job"}
)
_NOT_YET = frozenset(
    {"ing", "ingress", "gw", "gateway", "httproute", "grpcroute", "tlsroute", "tcproute"}
)
_SCHEME_PORTS = {"http": "80", "https": "443"}


class UnknownTargetError(SteppeError):
    """What was written names nothing, or more than one thing."""


class PodTarget(msgspec.Struct, frozen=True):
    """A pod, by those of its addresses that were meant."""

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
    """A Service, by those of its addresses that were meant."""

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
        """The only address, where there is only one."""
        (first, *more) = self.prefixes
        return first.network_address if not more and first.num_addresses == 1 else None

    def __str__(self) -> str:
        return self.text


Target = PodTarget | NodeTarget | ServiceTarget | RangeTarget


class Named(msgspec.Struct, frozen=True):
    """A target, the port that was written behind it ("" for none), and how it was understood."""

    target: Target
    port: str = ""
    note: str = ""


def resolve(cluster: Cluster, text: str) -> Named:
    """Who is meant; UnknownTargetError says why nobody can be."""
    text = text.strip()
    if not text:
        raise UnknownTargetError("an empty name: give a pod as NAMESPACE/NAME, or an address")
    if "://" in text:
        return _url(cluster, text)
    if text == "internet":
        return Named(RangeTarget(text, _EVERYWHERE, public=True))
    return _address(cluster, text) or _named(cluster, text)


def _url(cluster: Cluster, text: str) -> Named:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UnknownTargetError(f"{text!r} is no URL: {error}") from error
    known = _SCHEME_PORTS.get(parts.scheme, "")
    number = str(port) if port is not None else known
    found = _address(cluster, host) or _dns_name(cluster, host)
    if found is None:
        raise UnknownTargetError(
            f"{host!r} is neither an address nor a Service's name such as web.shop.svc; the hosts "
            "of Ingress and Gateway objects are not understood yet: name the Service behind them"
        )
    return msgspec.structs.replace(found, port=number)


def _address(cluster: Cluster, text: str) -> Named | None:
    """Whoever holds the address or prefix in text; None if it is neither."""
    bare, port = text, ""
    if text.startswith("["):
        bare, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        bare, _, port = text.partition(":")
    try:
        if "/" not in bare:
            return Named(_holder(cluster, parse_address(bare)), port)
        return Named(RangeTarget(bare, (parse_prefix(bare),)), port)
    except ValueError:
        return None


def _holder(cluster: Cluster, address: IPAddress) -> Target:
    for pod in cluster.pods_at(address):
        return PodTarget(pod, (address,))
    for node in cluster.nodes_at(address):
        return NodeTarget(node, (address,))
    for service in cluster.services_at(address):
        return ServiceTarget(service, (address,))
    return RangeTarget(str(address), (host_prefix(address),))


def _named(cluster: Cluster, text: str) -> Named:
    name, _, port = text.partition(":")
    words = name.split("/")
    match [words[0].lower(), *words[1:]]:
        case ["svc" | "service", namespace, service]:
            return Named(_service(cluster, namespace, service), port)
        case ["node" | "nodes", node]:
            return Named(_node(cluster, node), port)
        case ["pod" | "po", namespace, pod]:
            return msgspec.structs.replace(_pod(cluster, namespace, pod), port=port)
        case [kind, namespace, owner] if kind in _WORKLOADS:
            return msgspec.structs.replace(_one_of(cluster, kind, namespace, owner), port=port)
        case [kind, _, *_] if kind in _NOT_YET and kind not in cluster.namespaces:
            raise UnknownTargetError(
                f"{text!r}: Ingress, Gateway and their routes are not understood yet; name the "
                "Service behind them"
            )
        case [_]:
            found = _dns_name(cluster, name) if not cluster.pods_named(name) else None
            found = found or _pod_anywhere(cluster, name)
            return msgspec.structs.replace(found, port=port)
        case [_, pod]:
            return msgspec.structs.replace(_pod(cluster, words[0], pod), port=port)
    raise UnknownTargetError(
        f"{text!r} is not understood: write NAMESPACE/POD, svc/NAMESPACE/NAME[:PORT], node/NAME, "
        "an address, a CIDR or internet"
    )


def _service(cluster: Cluster, namespace: str, name: str) -> ServiceTarget:
    service = cluster.services.get((namespace, name))
    if service is None:
        known = (f"svc/{n}/{s}" for n, s in cluster.services)
        raise _unknown(f"Service {namespace}/{name}", f"svc/{namespace}/{name}", known)
    return _to_service(cluster, service)


def _to_service(cluster: Cluster, service: Service) -> ServiceTarget:
    """A Service by its own addresses; a headless one by those that DNS answers with."""
    if not service.headless:
        return ServiceTarget(service, service.cluster_ips)
    held = (each for slice_ in cluster.slices_of(service) for each in slice_.headless)
    return ServiceTarget(service, tuple(dict.fromkeys(e.address for e in held if e.ready)))


def _node(cluster: Cluster, name: str) -> NodeTarget:
    node = cluster.nodes.get(name)
    if node is None:
        known = (f"node/{known}" for known in cluster.nodes)
        raise _unknown(f"node {name}", f"node/{name}", known)
    if not node.addresses:
        raise UnknownTargetError(
            f"node {name} has no InternalIP, so nothing can be sent to or from it"
        )
    return NodeTarget(node, node.addresses)


def _pod(cluster: Cluster, namespace: str, name: str) -> Named:
    pod = cluster.pods.get((namespace, name))
    if pod is None and pods_of(cluster, namespace, name):
        return _one_of(cluster, "", namespace, name)
    if pod is None:
        known = (f"{n}/{p}" for n, p in cluster.pods)
        raise _unknown(f"pod {namespace}/{name}", f"{namespace}/{name}", known)
    return _of_pod(cluster, pod)


def _of_pod(cluster: Cluster, pod: Pod) -> Named:
    name = f"pod {pod.namespace}/{pod.name}"
    if pod.finished:
        raise UnknownTargetError(f"{name} has finished, so it has no network any more")
    if not pod.node:
        raise UnknownTargetError(f"{name} is not on a node yet, so it has no network")
    if not pod.addresses:
        raise UnknownTargetError(
            f"{name} has no address yet: look at its events on node {pod.node}"
        )
    if pod.host_network:
        # Its packets are its node's: no policy and no table can tell them apart.
        note = f"{pod.namespace}/{pod.name} uses the network of its node, {pod.node}"
        return Named(_node(cluster, pod.node), note=note)
    return Named(PodTarget(pod, pod.addresses))


def _pod_anywhere(cluster: Cluster, name: str) -> Named:
    found = cluster.pods_named(name)
    if len(found) == 1:
        return _of_pod(cluster, found[0])
    if found:
        names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in found))
        raise UnknownTargetError(f"{name!r} is the name of several pods: say which of {names}")
    known = {f"{n}/{p}": p for n, p in cluster.pods}
    near = get_close_matches(name, sorted(set(known.values())), _NEAR)
    full = sorted(text for text, own in known.items() if own in near)[:_NEAR]
    services = (f"svc/{n}/{s}" for n, s in cluster.services if s == name)
    raise UnknownTargetError(f"there is no pod {name!r}{_did_you_mean((*full, *services))}")


def _one_of(cluster: Cluster, kind: str, namespace: str, owner: str) -> Named:
    """The first pod of a workload."""
    what = f"{kind}/{namespace}/{owner}".lstrip("/")
    pods = pods_of(cluster, namespace, owner)
    if not pods:
        raise UnknownTargetError(f"no running pod is called after {what}")
    if not are_one(pods):
        names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:_NEAR])
        raise UnknownTargetError(
            f"{what} may be several workloads, as its pods' labels differ: say which pod, such as "
            f"{names}"
        )
    first, *others = pods
    found = _of_pod(cluster, first)
    note = f"{what} is {first.namespace}/{first.name}"
    note += f", the first of its {len(others) + 1} pods" if others else ""
    return msgspec.structs.replace(found, note=found.note or note)


def _dns_name(cluster: Cluster, host: str) -> Named | None:
    """The Service that cluster DNS knows by this name; None where there is none."""
    labels = host.rstrip(".").split(".")
    if len(labels) < 2 or (len(labels) > 2 and labels[2] != "svc"):
        return None
    service = cluster.services.get((labels[1], labels[0]))
    return Named(_to_service(cluster, service)) if service is not None else None


def _unknown(what: str, wanted: str, known: Iterable[str]) -> UnknownTargetError:
    near = get_close_matches(wanted, sorted(known), _NEAR)
    return UnknownTargetError(f"there is no {what}{_did_you_mean(near)}")


def _did_you_mean(near: Iterable[str]) -> str:
    text = " or ".join(near)
    return f"; did you mean {text}?" if text else ""


def families(target: Target) -> frozenset[int]:
    """The IP versions that the target has."""
    if isinstance(target, RangeTarget):
        return frozenset(prefix.version for prefix in target.prefixes)
    return frozenset(address.version for address in target.addresses)

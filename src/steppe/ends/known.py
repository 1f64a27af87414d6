"""Ends looked up in a cluster: Services by DNS name, and suggestions for names without a match."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from steppe.ends.end import (
    End,
    HostEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    PodEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
)
from steppe.ends.parse import NOT_YET, not_yet
from steppe.ends.workloads import owner_name
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod
from steppe.kube.services import Service
from steppe.net.address import parse_address

_NEAR = 3
_DOMAIN_AT = 2
"""The index of the label "svc" in NAME.NAMESPACE.svc.DOMAIN."""


def service_called(cluster: Cluster, host: str) -> Service | None:
    """The Service with this name in cluster DNS; None if there is none."""
    labels = host.rstrip(".").split(".")
    if len(labels) < _DOMAIN_AT or (len(labels) > _DOMAIN_AT and labels[_DOMAIN_AT] != "svc"):
        return None
    return cluster.services.get((labels[1], labels[0]))


def service_behind(cluster: Cluster, host: str) -> Service | None:
    """The Service whose load balancer has this host name; None if there is none."""
    wanted = host.rstrip(".").lower()
    for service in cluster.services.values():
        if wanted in (each.lower() for each in service.load_balancer_hosts):
            return service
    return None


def pod_called(cluster: Cluster, host: str) -> Pod | None:
    """The pod with this name in cluster DNS; None if there is none.

    POD.SERVICE.NAMESPACE.svc is the name of a pod with a hostname behind a headless Service, such
    as a StatefulSet's; 10-244-1-5.NAMESPACE.pod is the name of an address (kubernetes.io, DNS for
    Services and Pods).
    """
    match host.rstrip(".").split("."):
        case [name, service, namespace] | [name, service, namespace, "svc", *_]:
            behind = cluster.services.get((namespace, service))
            pod = cluster.pods.get((namespace, name))
            if behind is None or pod is None or not behind.headless:
                return None
            slices = cluster.slices_of(behind)
            listed = {e.address for slice_ in slices for e in slice_.headless}
            return pod if listed & set(pod.addresses) else None
        case [dashed, namespace, "pod", *_]:
            for sign in (".", ":"):
                try:
                    address = parse_address(dashed.replace("-", sign))
                except ValueError:
                    continue
                return next((p for p in cluster.pods_at(address) if p.namespace == namespace), None)
    return None


def no_match(cluster: Cluster, end: End, also: Iterable[str] = ()) -> UnknownEndError:
    """The error for an end that matches nothing, with suggestions.

    `also` are further known names.
    """
    message = _special(cluster, end)
    if message:
        return UnknownEndError(message)
    match end:
        case ServiceEnd(namespace, name):
            what = f"Service {namespace}/{name}".replace(" /", " ")
        case NodeEnd(name):
            what = f"node {name}"
        case NamespaceEnd(name):
            what = f"pod in namespace {name}"
        case NameEnd(namespace, _) if namespace in NOT_YET and namespace not in cluster.namespaces:
            return not_yet(str(end))
        case _:
            what = f"pod {end}"
    near = get_close_matches(str(end), sorted({*_names(cluster, end), *also}), _NEAR)
    return UnknownEndError(f"there is no {what}{_did_you_mean(near)}")


def _special(cluster: Cluster, end: End) -> str:
    """The sentence for ends whose names are not listed as they are written; "" for others."""
    match end:
        case HostEnd(host):
            return _no_host(cluster, host)
        case NameEnd("", name):
            alike = _alike(cluster, name)
            if "." in name and not alike:
                return _no_host(cluster, name)
            return f"there is no pod {name!r}{_did_you_mean(alike)}"
        case WorkloadEnd(kind, namespace, name):
            near = get_close_matches(name, sorted(_workloads(cluster, namespace)), _NEAR)
            meant = (f"{kind}/{namespace}/{each}".replace("//", "/") for each in near)
            absent = no_namespace(cluster, namespace)
            return absent or f"no running pod is called after {end}{_did_you_mean(meant)}"
        case NameEnd(namespace, _) | PodEnd(namespace, _) if namespace not in NOT_YET:
            return no_namespace(cluster, namespace)
    return ""


def _names(cluster: Cluster, end: End) -> Iterator[str]:
    """All existing names of the end's kind, in the form in which they are written."""
    match end:
        case ServiceEnd():
            return (f"svc/{namespace}/{name}" for namespace, name in cluster.services)
        case NodeEnd():
            return (f"node/{name}" for name in cluster.nodes)
        case NamespaceEnd():
            return (f"namespace/{name}" for name in cluster.namespaces_named)
        case PodEnd():
            return (f"{namespace}/{name}" for namespace, name in cluster.pods)
        case NameEnd(namespace, _):
            owners = [f"{namespace}/{name}" for name in _workloads(cluster, namespace)]
            return iter((*owners, *(f"{space}/{name}" for space, name in cluster.pods)))
        case _:
            return (f"{namespace}/{name}" for namespace, name in cluster.pods)


_ALWAYS = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
"""The namespaces that every cluster has (kubernetes.io, Namespaces: initial namespaces)."""


def no_namespace(cluster: Cluster, name: str) -> str:
    """The sentence for a namespace that does not exist; "" if it does."""
    known = cluster.namespaces_named
    if not name or name in known or name in _ALWAYS or any(sign in name for sign in "*?["):
        return ""
    near = get_close_matches(name, sorted(known | _ALWAYS), _NEAR)
    return f"there is no namespace {name}{_did_you_mean(near)}"


def _workloads(cluster: Cluster, namespace: str) -> set[str]:
    """What the pods of a namespace are called after; of all namespaces for ""."""
    pods = (pod for pod in cluster.pods.values() if namespace in ("", pod.namespace))
    return {owner for pod in pods if (owner := owner_name(pod)) != pod.name}


def _no_host(cluster: Cluster, host: str) -> str:
    """The sentence for a host name that is nobody's."""
    labels = host.rstrip(".").split(".")
    if labels[:2] == ["kubernetes", "default"] and labels[2:3] in ([], ["svc"]):
        return (
            f"{host!r} is the API server, which every cluster has, but its address is not told "
            "here: policies look at the address and port behind it, often a control plane node's "
            "6443; ask for ADDRESS:PORT"
        )
    if labels[3:4] == ["svc"] and (labels[2], labels[1]) in cluster.services:
        return _no_pod_host(cluster, host, cluster.services[labels[2], labels[1]])
    if len(labels) > 1 and (space := no_namespace(cluster, labels[1])) and labels[2:3] == ["svc"]:
        return f"{host!r} is no Service's name: {space}"
    names = sorted(f"{name}.{namespace}.svc" for namespace, name in cluster.services)
    wanted = ".".join((*labels[:2], "svc")) if len(labels) > 1 else f"{host}.default.svc"
    near = get_close_matches(wanted, names, _NEAR, cutoff=0.75)
    text = f"{host!r} is neither an address nor a Service's name such as web.shop.svc"
    if near:
        return text + _did_you_mean(near)
    return text + (
        "; the hosts of Ingress and Gateway objects are not understood yet: name the Service "
        "behind them"
    )


def _alike(cluster: Cluster, name: str) -> tuple[str, ...]:
    """Pods with a similar name in any namespace, and Services with exactly this name."""
    near = get_close_matches(name, sorted({own for _, own in cluster.pods}), _NEAR)
    pods = sorted(f"{space}/{own}" for space, own in cluster.pods if own in near)[:_NEAR]
    return (*pods, *(f"svc/{space}/{own}" for space, own in cluster.services if own == name))


def _no_pod_host(cluster: Cluster, host: str, service: Service) -> str:
    """The sentence for POD.SERVICE.NAMESPACE.svc of a Service that exists."""
    behind = f"Service {service.namespace}/{service.name}"
    if not service.headless:
        text = f"{host!r} is no name: {behind} is not headless, so its pods have no names in DNS"
        return f"{text}; did you mean {host.partition('.')[2]}?"
    pods = {
        pod.name
        for slice_ in cluster.slices_of(service)
        for endpoint in slice_.headless
        for pod in cluster.pods_at(endpoint.address)
    }
    rest = host.partition(".")[2]
    near = [f"{name}.{rest}" for name in sorted(pods)[:_NEAR]]
    return f"no pod behind {behind} is called {host!r}{_did_you_mean(near)}"


def _did_you_mean(near: Iterable[str]) -> str:
    text = " or ".join(near)
    return f"; did you mean {text}?" if text else ""

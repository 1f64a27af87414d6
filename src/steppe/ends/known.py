"""Ends looked up in a cluster: Services by DNS name, and suggestions for names without a match."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from steppe.ends.end import (
    End,
    HostEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
)
from steppe.ends.parse import NOT_YET, not_yet
from steppe.kube.cluster import Cluster
from steppe.kube.services import Service

_NEAR = 3
_DOMAIN_AT = 2
"""The index of the label "svc" in NAME.NAMESPACE.svc.DOMAIN."""


def service_called(cluster: Cluster, host: str) -> Service | None:
    """The Service with this name in cluster DNS; None if there is none."""
    labels = host.rstrip(".").split(".")
    if len(labels) < _DOMAIN_AT or (len(labels) > _DOMAIN_AT and labels[_DOMAIN_AT] != "svc"):
        return None
    return cluster.services.get((labels[1], labels[0]))


def no_match(cluster: Cluster, end: End, also: Iterable[str] = ()) -> UnknownEndError:
    """The error for an end that matches nothing, with suggestions.

    `also` are further known names.
    """
    match end:
        case HostEnd(host):
            return UnknownEndError(
                f"{host!r} is neither an address nor a Service's name such as web.shop.svc; the "
                "hosts of Ingress and Gateway objects are not understood yet: name the Service "
                "behind them"
            )
        case WorkloadEnd():
            return UnknownEndError(f"no running pod is called after {end}")
        case ServiceEnd(namespace, name):
            what = f"Service {namespace}/{name}".replace(" /", " ")
        case NodeEnd(name):
            what = f"node {name}"
        case NamespaceEnd(name):
            what = f"pod in namespace {name}"
        case NameEnd("", name):
            return UnknownEndError(
                f"there is no pod {name!r}{_did_you_mean(_alike(cluster, name))}"
            )
        case NameEnd(namespace, _) if namespace in NOT_YET and namespace not in cluster.namespaces:
            return not_yet(str(end))
        case _:
            what = f"pod {end}"
    near = get_close_matches(str(end), sorted({*_names(cluster, end), *also}), _NEAR)
    return UnknownEndError(f"there is no {what}{_did_you_mean(near)}")


def _names(cluster: Cluster, end: End) -> Iterator[str]:
    """All existing names of the end's kind, in the form in which they are written."""
    match end:
        case ServiceEnd():
            return (f"svc/{namespace}/{name}" for namespace, name in cluster.services)
        case NodeEnd():
            return (f"node/{name}" for name in cluster.nodes)
        case NamespaceEnd():
            return (f"namespace/{name}" for name, _ in cluster.pods)
        case _:
            return (f"{namespace}/{name}" for namespace, name in cluster.pods)


def _alike(cluster: Cluster, name: str) -> tuple[str, ...]:
    """Pods with a similar name in any namespace, and Services with exactly this name."""
    near = get_close_matches(name, sorted({own for _, own in cluster.pods}), _NEAR)
    pods = sorted(f"{space}/{own}" for space, own in cluster.pods if own in near)[:_NEAR]
    return (*pods, *(f"svc/{space}/{own}" for space, own in cluster.services if own == name))


def _did_you_mean(near: Iterable[str]) -> str:
    text = " or ".join(near)
    return f"; did you mean {text}?" if text else ""

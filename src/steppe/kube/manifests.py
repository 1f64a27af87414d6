"""A cluster from decoded manifests: what `kubectl get -o yaml` prints, or files people wrote."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod, node_from, pod_from


def cluster_from(documents: Iterable[Any]) -> tuple[Cluster, tuple[Problem, ...]]:
    """The cluster these documents describe; Lists are opened, kinds not in use passed over."""
    nodes: list[Node] = []
    pods: list[Pod] = []
    problems: list[Problem] = []
    for document in _opened(documents):
        kind = document.get("kind")
        try:
            if kind == "Node":
                node, found = node_from(msgspec.convert(document, wire.Node))
                nodes.append(node)
            elif kind == "Pod":
                pod, found = pod_from(msgspec.convert(document, wire.Pod))
                pods.append(pod)
            else:
                continue
        except msgspec.ValidationError as error:
            found = (Problem(Cause(_ref(document)), f"not readable as a {kind}: {error}"),)
        problems += found
    return cluster_of(nodes, pods), tuple(problems)


def _opened(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if not isinstance(document, dict):
            continue
        if str(document.get("kind", "")).endswith("List"):
            yield from _opened(document.get("items") or ())
        else:
            yield document


def _ref(document: dict[str, Any]) -> ObjectRef:
    metadata = document.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    return ObjectRef(
        str(document.get("kind", "")), str(names.get("namespace", "")), str(names.get("name", ""))
    )

"""Chooses the node for a pod, or says why there is none. Pure.

Pods of one owner are spread over nodes; requested resources are not looked at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from steppe_lab.controllers.matching import (
    UNSCHEDULABLE,
    effective_taints,
    selects,
    untolerated,
    wants_node,
)
from steppe_lab.controllers.objects import (
    Metadata,
    Node,
    Pod,
    PodAffinityTerm,
    controller_of,
)

NamespaceLabels = Callable[[str], Mapping[str, str]]


class Refused(msgspec.Struct, frozen=True):
    """No node fits."""

    message: str


class Placement(msgspec.Struct, frozen=True):
    """A pod that has a node, or is about to."""

    pod: Pod
    node: str


def owner_of(metadata: Metadata) -> str:
    """What spreading counts by: the controller, or the pod itself."""
    owner = controller_of(metadata)
    return owner.uid if owner else metadata.uid


def choose_node(
    pod: Pod,
    nodes: Iterable[Node],
    load: Mapping[str, tuple[int, int]],
    *,
    placements: Iterable[Placement] = (),
    namespace_labels: NamespaceLabels = lambda _: {},
) -> str | Refused:
    """The node with the fewest pods of the same owner, then the fewest pods.

    `load` tells those two numbers of each node; `placements` need only hold pods that could matter
    to (anti-)affinity.
    """
    everyone = list(nodes)
    if not everyone:
        return Refused("no nodes available to schedule pods")
    neighbours = _Neighbours(pod, everyone, placements, namespace_labels)
    reasons: Counter[str] = Counter()
    fitting: list[tuple[tuple[int, int], str]] = []
    for node in everyone:
        reason = _unfit(pod, node) or neighbours.unfit(node)
        if reason:
            reasons[reason] += 1
        else:
            fitting.append((load.get(node.metadata.name, (0, 0)), node.metadata.name))
    if fitting:
        return min(fitting)[1]
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return Refused(f"0/{len(everyone)} nodes are available: {told}.")


def _unfit(pod: Pod, node: Node) -> str:
    if not wants_node(pod.spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    taint = untolerated(pod.spec, effective_taints(node), ("NoSchedule", "NoExecute"))
    if taint is None:
        return ""
    if taint.key == UNSCHEDULABLE:
        return "node(s) were unschedulable"
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"


class _Neighbours:
    """Required affinity and anti-affinity to pods that have a node already."""

    def __init__(
        self,
        pod: Pod,
        nodes: list[Node],
        placements: Iterable[Placement],
        namespace_labels: NamespaceLabels,
    ) -> None:
        self._labels = {node.metadata.name: node.metadata.labels for node in nodes}
        self._namespace_labels = namespace_labels
        self._pod = pod
        self._forbidden: set[tuple[str, str]] = set()
        self._wanted: list[tuple[str, set[str]]] = []
        affinity = pod.spec.affinity
        near = affinity.pod_affinity if affinity else None
        far = affinity.pod_anti_affinity if affinity else None
        others = [p for p in placements if p.pod.metadata.uid != pod.metadata.uid]
        for term in far.required if far else ():
            for domain in self._domains(term, pod, others):
                self._forbidden.add((term.topology_key, domain))
        # Anti-affinity is symmetric: pods already there may exclude this one.
        for other in others:
            theirs = other.pod.spec.affinity.pod_anti_affinity if other.pod.spec.affinity else None
            for term in theirs.required if theirs else ():
                if self._means(term, other.pod, pod) and (
                    domain := self._domain(other.node, term.topology_key)
                ):
                    self._forbidden.add((term.topology_key, domain))
        for term in near.required if near else ():
            domains = set(self._domains(term, pod, others))
            # The first pod of a group with affinity to itself may go to any node.
            if domains or not self._means(term, pod, pod):
                self._wanted.append((term.topology_key, domains))

    def unfit(self, node: Node) -> str:
        labels = node.metadata.labels
        if any(labels.get(key) == domain for key, domain in self._forbidden):
            return "node(s) didn't match pod anti-affinity rules"
        if any(labels.get(key) not in domains for key, domains in self._wanted):
            return "node(s) didn't match pod affinity rules"
        return ""

    def _domains(self, term: PodAffinityTerm, pod: Pod, others: list[Placement]) -> Iterable[str]:
        for other in others:
            domain = self._domain(other.node, term.topology_key)
            if domain and self._means(term, pod, other.pod):
                yield domain

    def _domain(self, node: str, key: str) -> str:
        return self._labels.get(node, {}).get(key, "")

    def _means(self, term: PodAffinityTerm, holder: Pod, other: Pod) -> bool:
        """Whether a term, held by `holder`, is about `other`."""
        namespace = other.metadata.namespace
        # "null or empty namespaces list and null namespaceSelector means 'this pod's namespace'."
        named = term.namespaces or (() if term.namespace_selector else (holder.metadata.namespace,))
        return (
            namespace in named
            or selects(term.namespace_selector, self._namespace_labels(namespace))
        ) and selects(term.label_selector, other.metadata.labels)

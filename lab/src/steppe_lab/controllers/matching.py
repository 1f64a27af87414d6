"""Matching of selectors, affinities and tolerations to labels, nodes and taints. Pure."""

from collections.abc import Mapping
from typing import Any

from steppe.kube.selectors import Requirement as Checked
from steppe.kube.selectors import labels_are
from steppe_lab.controllers.objects import (
    LabelSelector,
    Node,
    NodeSelector,
    NodeSelectorTerm,
    PodSpec,
    Requirement,
    Taint,
    Toleration,
    is_true,
)

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches these labels.

    "An empty label selector matches all objects. A null label selector matches no objects."
    """
    if selector is None:
        return False
    return labels_are(selector.match_labels).matches(labels) and all(
        requires(requirement, labels) for requirement in selector.match_expressions
    )


def requires(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """One requirement of a label or node selector; what cannot be understood is not met."""
    operator: Any = requirement.operator
    return Checked(requirement.key, operator, frozenset(requirement.values)).matches(labels)


def wants_node(pod: PodSpec, node: Node) -> bool:
    """Whether nodeSelector and required node affinity allow a node."""
    labels = node.metadata.labels
    if not labels_are(pod.node_selector).matches(labels):
        return False
    affinity = pod.affinity.node_affinity if pod.affinity else None
    return affinity is None or affinity.required is None or _any_term(affinity.required, node)


def _any_term(selector: NodeSelector, node: Node) -> bool:
    # "The terms are ORed."
    return any(_term(term, node) for term in selector.node_selector_terms)


def _term(term: NodeSelectorTerm, node: Node) -> bool:
    # "A null or empty node selector term matches no objects. The requirements of them are ANDed."
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(requires(r, node.metadata.labels) for r in term.match_expressions) and all(
        requires(r, fields) for r in term.match_fields
    )


def tolerates(tolerations: tuple[Toleration, ...], taint: Taint) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    # "Effect … When empty, matches all taint effects."
    if toleration.effect and toleration.effect != taint.effect:
        return False
    # "If the key is empty, operator must be Exists; this combination means to match all values
    # and all keys."
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def effective_taints(node: Node) -> tuple[Taint, ...]:
    """A node's taints, with those that controllers will add because of its spec and conditions."""
    taints = node.spec.taints
    if node.spec.unschedulable:
        taints += (Taint(UNSCHEDULABLE, "NoSchedule"),)
    if not is_true(node.status.conditions, "Ready"):
        taints += (Taint(NOT_READY, "NoSchedule"),)
    return taints


def untolerated(pod: PodSpec, taints: tuple[Taint, ...], effects: tuple[str, ...]) -> Taint | None:
    """The first taint, of these effects, that keeps a pod away."""
    for taint in taints:
        if taint.effect in effects and not tolerates(pod.tolerations, taint):
            return taint
    return None

"""Pods that are not there yet: one for each selector that a policy has, and for each namespace.

What policies say of a pod depends on its namespace, its labels, its address and its named ports.
An imagined pod has the labels that a selector asks for and no others, the named ports of a pod that
the same selector takes in its namespace, and an address that nobody knows.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.judge.classes import DIRECTIONS
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster, Name
from steppe.kube.doubt import AddressInDoubt, Doubt
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import Anyone, Block, Namespace, NetworkPolicy, Pods
from steppe.kube.selectors import EVERYTHING, Requirement, Selector, labels_are
from steppe.net.address import parse_address
from steppe.policy.identities import AnyPolicy, rules_of

_NAME_LABEL = "kubernetes.io/metadata.name"
_ADDRESSES = (parse_address("100.127.255.254"), parse_address("fdff:ffff:ffff::ffff"))
"""The addresses that imagined pods bear; a doubt says that these are not known."""
_ANY_VALUE = "any"


class Imagined(msgspec.Struct, frozen=True):
    """A cluster with imagined pods, and what each is called in words."""

    cluster: Cluster
    names: Mapping[Name, str]


def imagined(cluster: Cluster, selectors: Iterable[Pods] | None = None) -> Imagined:
    """The cluster with pods that are not there yet, in namespaces that are or are not there; by
    these selectors, or else by those of its policies.

    Selectors that no labels meet have no pod. A namespace that has to be made for a selector has
    the labels that it asks for.
    """
    pods, spaces = dict(cluster.pods), dict(cluster.namespaces)
    names: dict[Name, str] = {}
    families = _families(cluster)
    for selector in selectors_of(cluster) if selectors is None else selectors:
        labels = _meeting(selector.pods)
        if labels is None:
            continue
        for space in _namespaces(cluster, selector):
            spaces.setdefault(space.name, space)
            key = (space.name, f"a new pod {_labelled(labels)}")
            names[key] = f"{key[1]} in {_space(cluster, space)}"
            pods[key] = Pod(
                *key,
                addresses=tuple(a for a in _ADDRESSES if a.version in families),
                labels=labels,
                ports=_ports_there(cluster, space.name, selector),
            )
    doubts = tuple(_doubts(cluster, names))
    return Imagined(
        msgspec.structs.replace(
            cluster, pods=pods, namespaces=spaces, doubts=(*cluster.doubts, *doubts)
        ),
        names,
    )


def _ports_there(cluster: Cluster, space: str, selector: Pods) -> tuple[NamedPort, ...]:
    """The named ports that a pod has there which the same selector takes; none for anybody."""
    if selector.pods == EVERYTHING:
        return ()
    alike = (p for p in cluster.pods.values() if p.namespace == space)
    found = sorted((p for p in alike if selector.pods.matches(p.labels)), key=lambda p: p.name)
    return found[0].ports if found else ()


def _families(cluster: Cluster) -> frozenset[int]:
    """The families that pods have here; both where there are none."""
    found = (a.version for pod in cluster.pods.values() for a in pod.addresses)
    return frozenset(found) or frozenset((4, 6))


def selectors_of(cluster: Cluster) -> list[Pods]:
    """Whom policies name, as subjects and as peers; anybody in each namespace, and in a new one."""
    found: dict[Pods, None] = {}
    policies: list[AnyPolicy] = [
        *cluster.network_policies.values(),
        *cluster.cluster_policies.values(),
    ]
    for name in sorted(cluster.namespaces):
        found[Pods(within=name)] = None
    found[Pods()] = None
    for policy in sorted(policies, key=lambda each: each.ref):
        if isinstance(policy, NetworkPolicy):
            found[Pods(pods=policy.pods, within=policy.namespace)] = None
        else:
            found[policy.subject] = None
        for direction in DIRECTIONS:
            for _, rule in rules_of(policy, direction):
                found |= dict.fromkeys(p for p in rule.peers if isinstance(p, Pods))
    return list(found)


def _namespaces(cluster: Cluster, selector: Pods) -> Iterator[Namespace]:
    """The namespaces in which the pod may be: those that are there, or else a new one.

    A selector that takes every namespace is asked in a new one alone: each that is there has
    selectors of its own.
    """
    if selector.within:
        yield cluster.namespaces.get(selector.within, Namespace(selector.within))
        return
    there = [n for n in cluster.namespaces.values() if selector.namespaces.matches(n.labels)]
    if there and selector.namespaces != EVERYTHING:
        yield from sorted(there, key=lambda each: each.name)
        return
    labels = _meeting(selector.namespaces)
    if labels is not None:
        text = "" if selector.namespaces == EVERYTHING else f" {_labelled(labels)}"
        name = labels.get(_NAME_LABEL, "") or f"a new namespace{text}"
        yield Namespace(name, {**labels, _NAME_LABEL: name})


def _meeting(selector: Selector) -> dict[str, str] | None:
    """The fewest labels that meet a selector; None if no labels do."""
    found: dict[str, str] = {}
    for requirement in selector.requirements:
        if requirement.operator in ("In", "Exists") and requirement.key not in found:
            value = _value(requirement.key, selector.requirements)
            if value is None:
                return None
            found[requirement.key] = value
    return found if selector.matches(found) else None


def _value(key: str, requirements: tuple[Requirement, ...]) -> str | None:
    """A value of a label that meets all that is asked of it."""
    own = [each for each in requirements if each.key == key]
    named = sorted({value for each in own if each.operator == "In" for value in each.values})
    taken = {value for each in own for value in each.values}
    other = next(v for v in (_ANY_VALUE * n for n in range(1, len(taken) + 2)) if v not in taken)
    fitting = (v for v in (*named, other) if all(each.matches({key: v}) for each in own))
    return next(fitting, None)


def _labelled(labels: Mapping[str, str]) -> str:
    return f"with {labels_are(labels)}" if labels else "without labels"


def _space(cluster: Cluster, space: Namespace) -> str:
    if space.name in cluster.namespaces:
        return f"namespace {space.name}"
    return space.name if " " in space.name else f"a new namespace {space.name}"


def _doubts(cluster: Cluster, names: Mapping[Name, str]) -> Iterator[Doubt]:
    """That the addresses are not known, where any policy tells pods apart by addresses."""
    policies: list[AnyPolicy] = [
        *cluster.network_policies.values(),
        *cluster.cluster_policies.values(),
    ]
    blocks = any(
        isinstance(peer, Block) and (peer.prefix.prefixlen or peer.excepted)
        for policy in policies
        for direction in DIRECTIONS
        for _, rule in rules_of(policy, direction)
        if Anyone() not in rule.peers
        for peer in rule.peers
    )
    for namespace, name in names if blocks else ():
        cause = Cause(Pod(namespace, name).ref, "status.podIPs")
        text = "a pod that is not there has no address yet"
        yield Doubt(cause, text, AddressInDoubt(namespace, name))

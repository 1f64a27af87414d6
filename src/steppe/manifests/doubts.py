"""Which answers hang on what could not be read, by the words of `kube/doubt.py`.

a policy that is refused         the policies of the pods that it may select
a workload or pod that is        the endpoints of Services that may select its pods
kinds that make pods             the endpoints of Services that have none here
an EndpointSlice, Endpoints      the endpoints of their Service
a Namespace (its labels)         the policies of its pods
addresses that are invented      what an ipBlock says of them
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.doubt import AddressInDoubt, Doubt, EndpointsInDoubt, PoliciesInDoubt
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Direction,
    NetworkPolicy,
    Pods,
)
from steppe.kube.policy_wire import LabelSelector
from steppe.kube.selectors import EVERYTHING, Selector, selector_from
from steppe.kube.services import SERVICE_NAME_LABEL
from steppe.manifests.collect import Refused
from steppe.manifests.documents import Json, Objects, labels_of, readable
from steppe.manifests.endpoints import SeenService
from steppe.manifests.relevant import listed
from steppe.manifests.templates import WORKLOADS
from steppe.net.address import IPNetwork, holds

POLICIES_OF_ADMINS = frozenset(
    ("ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy")
)
BOTH: tuple[Direction, ...] = ("ingress", "egress")

Makers = Mapping[str, tuple[ObjectRef, ...]]
Services = Mapping[ObjectRef, SeenService]


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    pod_selector: LabelSelector | None = None


class _Policy(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def closed_policies(
    refused: Mapping[ObjectRef, Refused],
) -> tuple[list[NetworkPolicy], list[ClusterNetworkPolicy]]:
    """For each policy that is refused one that closes all that it may be meant for: who knows of no
    doubt takes what cannot be read for closed.
    """
    own: list[NetworkPolicy] = []
    admins: list[ClusterNetworkPolicy] = []
    closed = ClusterRule("spec", "", "Deny", (Anyone(),), (AnyTraffic(),))
    for ref, found in refused.items():
        if ref.kind == "NetworkPolicy":
            selector, directions = _selected(found), frozenset(_directions(found))
            own.append(NetworkPolicy(ref.namespace, ref.name, selector, directions))
        elif ref.kind in POLICIES_OF_ADMINS:
            admins.append(
                ClusterNetworkPolicy(ref.name, "Admin", 0, Pods(), (closed,), (closed,), ref.kind)
            )
    return own, admins


def doubts_of(
    objects: Objects, refused: Mapping[ObjectRef, Refused], makers: Makers
) -> Iterator[Doubt]:
    """The doubts about policies and endpoints."""
    services = {
        ref: seen
        for ref, document in objects.items()
        if ref.kind == "Service" and (seen := readable(document, SeenService)) is not None
    }
    for ref, found in sorted(refused.items(), key=lambda item: item[0]):
        cause, text = found.problems[0].cause, _not_read(found)
        for about in _abouts(ref, found, services):
            yield Doubt(cause, text, about)
    yield from _of_makers(objects, services, makers)


def _not_read(found: Refused) -> str:
    more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
    return f"it cannot be counted on: {found.problems[0].message}{more}"


def _abouts(
    ref: ObjectRef, found: Refused, services: Services
) -> Iterator[PoliciesInDoubt | EndpointsInDoubt]:
    document = found.document
    if ref.kind == "NetworkPolicy":
        pods = Pods(pods=_selected(found), within=ref.namespace)
        yield PoliciesInDoubt(pods, tuple(_directions(found)))
    elif ref.kind in POLICIES_OF_ADMINS:
        yield PoliciesInDoubt(Pods())
    elif ref.kind == "Namespace":
        yield PoliciesInDoubt(Pods(within=ref.name))
    elif ref.kind in WORKLOADS or ref.kind == "Pod":
        yield from _selecting(services, ref.namespace, _labels_of_pods(document))
    elif ref.kind in ("EndpointSlice", "Endpoints"):
        name = labels_of(document).get(SERVICE_NAME_LABEL) if ref.kind[-1] == "e" else ref.name
        for service, seen in services.items():
            without = not name and not seen.spec.selecting
            if service.namespace == ref.namespace and (service.name == name or without):
                yield EndpointsInDoubt(service.namespace, service.name)


def _selected(found: Refused) -> Selector:
    """The pods that a NetworkPolicy selects; all where its selector is not certain."""
    spec = found.document.get("spec")
    fields: Mapping[str, Any] = spec if isinstance(spec, dict) else {}
    unsure = any(
        problem.cause.field in ("spec", "")
        or problem.cause.field.startswith("spec.podSelector")
        or (problem.cause.field.lower() == "spec.podselector")
        for problem in found.problems
    )
    seen = readable(found.document, _Policy)
    if unsure or seen is None or "podSelector" not in fields:
        return EVERYTHING
    selector, sure = selector_from(seen.spec.pod_selector, ObjectRef("", "", ""), "", [])
    return selector if sure else EVERYTHING


def _directions(found: Refused) -> tuple[Direction, ...]:
    spec = found.document.get("spec")
    fields: Mapping[str, Any] = spec if isinstance(spec, dict) else {}
    named = fields.get("policyTypes")
    unsure = (
        any(
            problem.cause.field.count(".") < 1 or problem.cause.field.startswith("spec.policyTypes")
            for problem in found.problems
        )
        or not fields
    )
    strange = any(_is_new(problem.cause.field, fields) for problem in found.problems)
    if unsure or strange:
        return BOTH
    if isinstance(named, list) and named:
        return tuple(each for each in BOTH if each.capitalize() in named)
    return BOTH if fields.get("egress") else ("ingress",)


def _is_new(field: str, fields: Mapping[str, Any]) -> bool:
    """Whether a field that is at fault is one of spec's own, and none of those that it has."""
    known = ("podSelector", "ingress", "egress", "policyTypes")
    name = field.removeprefix("spec.")
    return "." not in name and "[" not in name and name not in known and name in fields


def _labels_of_pods(document: Json) -> Mapping[str, str] | None:
    """The labels of a pod, or of a workload's template; None where they cannot be read."""
    holder: Any = document
    kind = document.get("kind")
    path = {"Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template")}
    for field in path.get(str(kind), ("spec", "template")):
        holder = holder.get(field) if isinstance(holder, dict) else None
    metadata = holder.get("metadata") if isinstance(holder, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict) or not labels:
        return None
    known = all(isinstance(k, str) and isinstance(v, str) for k, v in labels.items())
    return labels if known else None


def _selecting(
    services: Services, namespace: str, labels: Mapping[str, str] | None
) -> Iterator[EndpointsInDoubt]:
    for ref, seen in services.items():
        if ref.namespace != namespace or not seen.spec.selecting:
            continue
        if labels is None or (seen.spec.selector or {}).items() <= labels.items():
            yield EndpointsInDoubt(ref.namespace, ref.name)


def _of_makers(objects: Objects, services: Services, makers: Makers) -> Iterator[Doubt]:
    """Services without any endpoint, where kinds that are not read make pods."""
    if not makers:
        return
    having = _with_endpoints(objects)
    for ref, seen in sorted(services.items(), key=lambda item: item[0]):
        found = makers.get(ref.namespace, ())
        if not found or not seen.spec.selecting or (ref.namespace, ref.name) in having:
            continue
        kinds = listed({each.full_kind for each in found})
        text = f"it may have pods that are not here (objects of kind {kinds} make some)"
        yield Doubt(Cause(found[0]), text, EndpointsInDoubt(ref.namespace, ref.name))


def _with_endpoints(objects: Objects) -> frozenset[tuple[str, str]]:
    return frozenset(
        (ref.namespace, labels_of(document).get(SERVICE_NAME_LABEL, ""))
        for ref, document in objects.items()
        if ref.kind == "EndpointSlice" and document.get("endpoints")
    )


def address_doubts(
    cluster: Cluster, invented: Iterable[ObjectRef], known: Iterable[IPNetwork]
) -> Iterator[Doubt]:
    """The pods about whose address an ipBlock cannot be sure.

    `invented` are pods without an address of their own, `known` the prefixes of nodes that are
    written down. Where there are such prefixes, they decide if each block has them whole or not at
    all.
    """
    blocks = frozenset(_blocks(cluster))
    prefixes = tuple(known)
    unsure = frozenset(block for block in blocks if block.prefixlen)
    if not unsure or (prefixes and _sure(prefixes, unsure)):
        return
    for ref in sorted(invented):
        text = "its address is not known: manifests do not say which one it gets"
        yield Doubt(Cause(ref, "status.podIPs"), text, AddressInDoubt(ref.namespace, ref.name))


def _sure(prefixes: Iterable[IPNetwork], blocks: Iterable[IPNetwork]) -> bool:
    """Whether each block has all of these prefixes' addresses or none of them."""
    own = tuple(prefixes)
    return all(
        holds(block, prefix) or not block.overlaps(prefix)
        for block in blocks
        for prefix in own
        if block.version == prefix.version
    )


def _blocks(cluster: Cluster) -> Iterator[IPNetwork]:
    policies: tuple[NetworkPolicy | ClusterNetworkPolicy, ...]
    policies = (*cluster.network_policies.values(), *cluster.cluster_policies.values())
    for policy in policies:
        for rule in (*policy.ingress, *policy.egress):
            for peer in rule.peers:
                if isinstance(peer, Block):
                    yield peer.prefix
                    yield from peer.excepted

"""Two objects that want one thing: addresses and node ports of Services, ports of a node."""

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

from steppe.explain.host_ports import UNSERVED, HostPort, HostPortPod
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.services import Service
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as, named
from steppe.manifests.documents import Json, readable

K = TypeVar("K", bound=Hashable)


def shared_addresses(facts: Facts) -> Iterator[Finding]:
    """Services with one address and port: "which one gets the traffic" is for no API to say."""
    claims = (
        ((address, port.protocol, port.port), service)
        for service in facts.cluster.services.values()
        for address in dict.fromkeys(service.addresses)
        for port in service.ports
    )
    for (address, protocol, number), services in _several(claims):
        first, *others = sorted(services, key=_age)
        for each in others:
            kind = "clusterIP" if address in each.cluster_ips else "address"
            message = (
                f"{address} {protocol} {number} is also the {kind} and port of "
                f"{known_as(first.ref)}: one of them gets no traffic there; give it another "
                "address or port"
            )
            yield Finding(Cause(each.ref, _field(each, address)), "same-address", message)


def _age(service: Service) -> tuple[str, ObjectRef]:
    return service.created or "~", service.ref


def _field(service: Service, address: object) -> str:
    if address in service.cluster_ips:
        return "spec.clusterIPs"
    if address in service.external_ips:
        return f"spec.externalIPs[{service.external_ips.index(address)}]"
    return "status.loadBalancer.ingress"


def host_ports(facts: Facts) -> Iterator[Finding]:
    """Ports of nodes that pods ask for: told once, and where two pods of a node ask for one."""
    asking: dict[tuple[str, str, int], dict[str, list[ObjectRef]]] = {}
    running = [pod.ref for pod in facts.cluster.pods.values() if not pod.finished]
    for ref in running:
        document = facts.loaded.objects.get(ref, {})
        pod = readable(document, HostPortPod)
        if pod is None:
            continue
        for place, port in pod.asked():
            if not pod.spec.host_network:
                cause = _written_in(facts, ref, document, place)
                yield Finding(cause, "host-port", _unserved(port))
            if pod.spec.node_name and ref not in facts.loaded.placed:
                key = (pod.spec.node_name, port.protocol or "TCP", port.host_port or 0)
                asking.setdefault(key, {}).setdefault(port.host_ip or "", []).append(ref)
    yield from _conflicts(facts, asking)


def _written_in(facts: Facts, ref: ObjectRef, document: Json, place: str) -> Cause:
    """Where somebody wrote this: in the workload, for a pod that was invented for one."""
    owners = (document.get("metadata") or {}).get("ownerReferences") or ()
    if ref in facts.loaded.invented and owners:
        owner = ObjectRef(owners[0]["kind"], ref.namespace, owners[0]["name"])
        template = "spec.jobTemplate.spec.template" if owner.kind == "CronJob" else "spec.template"
        return Cause(owner, f"{template}.{place}")
    return Cause(ref, place)


def _unserved(port: HostPort) -> str:
    return f"hostPort {port.host_port} {UNSERVED}; a Service of type NodePort is open on every node"


def _conflicts(
    facts: Facts, asking: dict[tuple[str, str, int], dict[str, list[ObjectRef]]]
) -> Iterator[Finding]:
    told: set[tuple[Cause, str, int]] = set()
    for (node, protocol, number), by_ip in asking.items():
        everywhere = by_ip.get("", []) + by_ip.get("0.0.0.0", [])  # noqa: S104
        for own, refs in by_ip.items():
            holders = list(dict.fromkeys([*refs, *(everywhere if own else ())]))
            first, *others = sorted(holders)
            for ref in others:
                cause = _written_in(facts, ref, facts.loaded.objects[ref], "spec.containers")
                if (cause, protocol, number) in told:
                    continue  # a DaemonSet has a pod on every node
                told.add((cause, protocol, number))
                message = (
                    f"{protocol} {number} of node {node} is taken by {named(first)} already, so "
                    "only one of them runs there"
                )
                yield Finding(cause, "host-port-conflict", message)


def _several(pairs: Iterable[tuple[K, Service]]) -> Iterator[tuple[K, list[Service]]]:
    found: dict[K, dict[ObjectRef, Service]] = {}
    for key, service in pairs:
        found.setdefault(key, {})[service.ref] = service
    return ((key, list(held.values())) for key, held in found.items() if len(held) > 1)

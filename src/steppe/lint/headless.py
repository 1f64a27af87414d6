"""Headless Services: ports that nothing translates, and the names of a StatefulSet's pods."""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.objects import container_ports
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as
from steppe.lint.trying import arrives, between, packet_of, protocol_of
from steppe.manifests.documents import readable
from steppe.manifests.endpoint_plan import target_port
from steppe.manifests.endpoints import SeenService, front_port

_ASKED = 16
"""So many senders are tried for each pod."""


class _Template(msgspec.Struct, frozen=True):
    metadata: dict[str, object] = {}


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    service_name: str | None = None
    template: _Template = _Template()


class _StatefulSet(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def headless_ports(facts: Facts) -> Iterator[Finding]:
    """Ports of headless Services that are not the pods' own: DNS gives the pods' addresses, and
    nothing translates a port on the way.
    """
    for ref, document in facts.loaded.objects.items():
        service = readable(document, SeenService) if ref.kind == "Service" else None
        if service is None or service.spec.cluster_ip != "None" or not service.spec.selecting:
            continue
        pods = [pod for pod in facts.wire_pods(ref.namespace) if service.spec.selects(pod)]
        for index, port in enumerate(service.spec.ports or ()):
            numbers = {target_port(front_port(port), container_ports(pod.spec)) for pod in pods}
            numbers.discard(0)
            if numbers and port.port not in numbers:
                own = min(numbers)
                message = (
                    f"the Service is headless, so clients dial the pods themselves and port "
                    f"{port.port} is translated by nobody: the pods have {own}"
                )
                names = [pod.metadata.name for pod in pods]
                known = len(numbers) == 1 and not facts.loaded.pods_unknown(ref.namespace)
                if known and _answers(facts, ref, names, (port.protocol, own)):
                    message += f"; write port: {own}"
                yield Finding(Cause(ref, f"spec.ports[{index}].port"), "headless-port", message)


def _answers(
    facts: Facts, service: ObjectRef, names: list[str], port: tuple[str | None, int]
) -> bool:
    """Whether each of these pods takes connections at the port from somebody."""
    protocol = protocol_of(port[0] or "TCP")
    senders = tuple(facts.cluster.pods.values())[:_ASKED]
    for name in names:
        pod = facts.cluster.pods.get((service.namespace, name))
        if pod is None or pod.host_network:
            return False
        node = facts.cluster.nodes.get(pod.node)
        found = [between(each, pod, protocol, port[1]) for each in senders if each.ref != pod.ref]
        found += [
            packet_of(own, other, protocol, port[1])
            for own in (node.addresses if node is not None else ())
            for other in pod.addresses
            if own.version == other.version
        ]
        if not any(arrives(facts.cluster, packet) for packet in found if packet is not None):
            return False
    return True


def nameless_pods(facts: Facts) -> Iterator[Finding]:
    """StatefulSets whose pods get no names in DNS.

    "StatefulSets currently require a Headless Service to be responsible for the network identity
    of the Pods. You are responsible for creating this Service." (StatefulSets, Limitations)
    """
    for ref, document in facts.loaded.objects.items():
        found = readable(document, _StatefulSet) if ref.kind == "StatefulSet" else None
        if found is None:
            continue
        name = found.spec.service_name or ""
        service = facts.cluster.services.get((ref.namespace, name))
        cause = Cause(ref, "spec.serviceName")
        if not name:
            yield Finding(cause, "no-service-name", _nameless(ref, "is missing"))
        elif service is None:
            where = "does not exist" if facts.live else "is not among these manifests"
            text = _nameless(ref, f"names Service {ref.namespace}/{name}, which {where}")
            yield Finding(cause, "no-service-name", text)
        elif not service.headless:
            text = f"names {known_as(service.ref)}, which is not headless (clusterIP: None)"
            yield Finding(cause, "no-service-name", _nameless(ref, text))


def _nameless(ref: ObjectRef, why: str) -> str:
    return f"{why}, so its pods have no names of their own in DNS, such as {ref.name}-0.SERVICE"

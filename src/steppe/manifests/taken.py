"""What several objects cannot have together: cluster IPs and node ports that are taken already, and
priorities at which the order of policies is open.
"""

from collections.abc import Iterator, Mapping

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster import Cluster
from steppe.manifests.collect import Refused
from steppe.manifests.documents import Objects, readable
from steppe.manifests.service_numbers import node_port_refusal


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    node_port: int = 0


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = msgspec.field(name="clusterIPs", default=None)
    ports: tuple[_Port, ...] | None = None
    health_check_node_port: int = 0


class _Service(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def taken_twice(objects: Objects) -> Mapping[ObjectRef, Refused]:
    """The Services that ask for an address or a node port which an earlier one has."""
    addresses: dict[str, ObjectRef] = {}
    ports: dict[int, ObjectRef] = {}
    found: dict[ObjectRef, Refused] = {}
    for ref, document in objects.items():
        seen = readable(document, _Service) if ref.kind == "Service" else None
        if seen is None or seen.spec.type == "ExternalName":
            continue
        own, numbers = _addresses(seen.spec), _node_ports(seen.spec)
        problems = (*_clashing(ref, own, addresses), *_refused_ports(ref, numbers, ports))
        if problems:
            found[ref] = Refused(document, problems)
            continue
        addresses |= dict.fromkeys(own, ref)
        ports |= dict.fromkeys(numbers.values(), ref)
    return found


def _addresses(spec: _Spec) -> tuple[str, ...]:
    written = spec.cluster_ips or (spec.cluster_ip,)
    return tuple(text for text in written if text not in ("", "None"))


def _node_ports(spec: _Spec) -> Mapping[str, int]:
    found = {f"spec.ports[{i}].nodePort": port.node_port for i, port in enumerate(spec.ports or ())}
    found["spec.healthCheckNodePort"] = spec.health_check_node_port
    return {field: number for field, number in found.items() if number}


def _clashing(
    ref: ObjectRef, own: tuple[str, ...], addresses: Mapping[str, ObjectRef]
) -> Iterator[Problem]:
    for text in own:
        if text in addresses:
            message = (
                f"{text} is already allocated, to {addresses[text]}: the later Service is refused"
            )
            yield Problem(Cause(ref, "spec.clusterIPs"), message)


def _refused_ports(
    ref: ObjectRef, numbers: Mapping[str, int], ports: Mapping[int, ObjectRef]
) -> Iterator[Problem]:
    for field, number in numbers.items():
        why = node_port_refusal(number, taken=number in ports)
        if why:
            by = f" to {ports[number]}" if number in ports else ""
            message = f"an API server refuses the node port {number}: {why}{by}"
            yield Problem(Cause(ref, field), message)


def open_orders(cluster: Cluster) -> Iterator[str]:
    """Sentences on policies of administrators that have one tier and one priority."""
    alike: dict[tuple[str, int], list[str]] = {}
    for policy in cluster.cluster_policies.values():
        alike.setdefault((policy.tier, policy.priority), []).append(str(policy.ref))
    for (tier, priority), names in sorted(alike.items()):
        if len(names) > 1:
            yield (
                f"{' and '.join(sorted(names))} have one priority ({priority}) in tier {tier}: the "
                "API leaves open which is asked first, and this answer takes them by name"
            )

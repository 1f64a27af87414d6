"""Invents cluster IPs and node ports for Services without any, as the API server would.

They depend on the Service's name alone, so that adding a Service does not renumber others. Numbers
that a live cluster has allocated are kept.
"""

from collections.abc import Mapping
from functools import partial
from ipaddress import ip_network
from zlib import crc32

import msgspec

from steppe.manifests.documents import Json, Objects, readable
from steppe.manifests.service_numbers import (
    NODE_PORTS,
    families,
    needs_node_ports,
    with_node_ports,
)
from steppe.net.address import IPNetwork

Families = tuple[str, ...]

_RANGES: Mapping[str, IPNetwork] = {
    "IPv4": ip_network("10.96.0.0/16"),
    "IPv6": ip_network("fd00:10:96::/112"),
}
FIRST_ADDRESSES = {family: str(range_[1]) for family, range_ in _RANGES.items()}
"""The addresses that the API's own Service has: the first of the ranges."""
_FIRST_ADDRESS = 256  # lower ones may be requested explicitly, such as the DNS Service's


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    port: int = 0
    node_port: int = 0


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = msgspec.field(name="clusterIPs", default=None)
    ip_families: tuple[str, ...] | None = None
    ip_family_policy: str = ""
    ports: tuple[_Port, ...] | None = None
    allocate_load_balancer_node_ports: bool = True


class _Service(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


def numbered_services(objects: Objects, served: Families) -> Objects:
    """The Services that lacked addresses or node ports, completed.

    `served`: the cluster's families.
    """
    specs = {
        ref: service.spec
        for ref, document in objects.items()
        if ref.kind == "Service" and (service := readable(document, _Service)) is not None
    }
    addresses = {ip for spec in specs.values() for ip in spec.cluster_ips or (spec.cluster_ip,)}
    ports = {port.node_port for spec in specs.values() for port in spec.ports or ()}
    numbered: Objects = {}
    for ref, spec in sorted(specs.items(), key=lambda item: item[0]):
        if spec.type == "ExternalName":
            continue
        document, name = objects[ref], f"{ref.namespace}/{ref.name}"
        changes = _addresses(spec, name, served, addresses)
        if _lacks_node_ports(spec):
            changes["ports"] = with_node_ports(
                document["spec"]["ports"], partial(_free_port, name, ports)
            )
        if changes:
            numbered[ref] = document | {"spec": (document.get("spec") or {}) | changes}
    return numbered


def _addresses(spec: _Spec, name: str, served: Families, taken: set[str]) -> Json:
    """The fields for families and cluster IPs that a Service lacks."""
    given = [address for address in spec.cluster_ips or (spec.cluster_ip,) if address]
    if "None" in given:
        return {}
    dual = spec.ip_family_policy in ("PreferDualStack", "RequireDualStack")
    wanted = families(spec.ip_families or (), given, served, dual=dual)
    missing = [family for family in wanted[len(given) :] if family in _RANGES]
    if not missing and spec.cluster_ip:
        return {}
    given += (_free_address(_RANGES[family], name, taken) for family in missing)
    taken.update(given)
    return {"clusterIP": given[0], "clusterIPs": given, "ipFamilies": wanted} if given else {}


def _free_address(range_: IPNetwork, name: str, taken: set[str]) -> str:
    room = range_.num_addresses - _FIRST_ADDRESS - 1  # IPv4's last address is broadcast
    start = crc32(name.encode())
    candidates = (str(range_[_FIRST_ADDRESS + (start + step) % room]) for step in range(room))
    return next((text for text in candidates if text not in taken), "")


def _lacks_node_ports(spec: _Spec) -> bool:
    wanted = needs_node_ports(spec.type, allocate=spec.allocate_load_balancer_node_ports)
    return wanted and any(not port.node_port for port in spec.ports or ())


def _free_port(name: str, taken: set[int], port: Json) -> int:
    """A free node port, chosen by the names of the Service and its port."""
    start = crc32(f"{name}:{port.get('port')}".encode())
    candidates = (NODE_PORTS[(start + step) % len(NODE_PORTS)] for step in range(len(NODE_PORTS)))
    number = next((number for number in candidates if number not in taken), 0)
    taken.add(number)
    return number

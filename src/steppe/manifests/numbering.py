"""Cluster IPs and node ports for Services that manifests give none, as the API server would.

Which ones depends on the Service's name alone, so that adding a Service renumbers no other. What a
live cluster has given out stays as it is.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from zlib import crc32

import msgspec

from steppe.manifests.documents import Json, Objects, readable
from steppe.net.address import IPNetwork, parse_address

Families = tuple[str, ...]

_RANGES: Mapping[str, IPNetwork] = {
    "IPv4": ip_network("10.96.0.0/16"),
    "IPv6": ip_network("fd00:10:96::/112"),
}
_FIRST_ADDRESS = 256  # below are those that are asked for by number, such as the DNS Service's
_NODE_PORTS = range(30000, 32768)


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
    """The Services that lack addresses or ports, with them; `served` are the cluster's families."""
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
        if _needs_node_ports(spec):
            changes["ports"] = _with_node_ports(document["spec"]["ports"], name, ports)
        if changes:
            numbered[ref] = document | {"spec": (document.get("spec") or {}) | changes}
    return numbered


def _addresses(spec: _Spec, name: str, served: Families, taken: set[str]) -> Json:
    """What is missing of a Service's families and cluster IPs."""
    given = [address for address in spec.cluster_ips or (spec.cluster_ip,) if address]
    if "None" in given:
        return {}
    known = [family for family in (_family(address) for address in given) if family]
    families = list(spec.ip_families or known or served[:1])
    # "PreferDualStack" (two IP families on dual-stack configured clusters or a single IP family
    # on single-stack clusters), or "RequireDualStack" … if there is no value provided, then this
    # field will be set to SingleStack. (ServiceSpec.ipFamilyPolicy)
    if spec.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        families += [family for family in served if family not in families]
    missing = [family for family in families[len(given) :] if family in _RANGES]
    if not missing and spec.cluster_ip:
        return {}
    given += (_free_address(_RANGES[family], name, taken) for family in missing)
    taken.update(given)
    return {"clusterIP": given[0], "clusterIPs": given, "ipFamilies": families} if given else {}


def _family(text: str) -> str:
    try:
        return f"IPv{parse_address(text).version}"
    except ValueError:
        return ""


def _free_address(range_: IPNetwork, name: str, taken: set[str]) -> str:
    room = range_.num_addresses - _FIRST_ADDRESS - 1  # IPv4's last address is broadcast
    start = crc32(name.encode())
    candidates = (str(range_[_FIRST_ADDRESS + (start + step) % room]) for step in range(room))
    return next((text for text in candidates if text not in taken), "")


def _needs_node_ports(spec: _Spec) -> bool:
    wanted = spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports
    )
    return wanted and any(not port.node_port for port in spec.ports or ())


def _with_node_ports(ports: Iterable[Json], name: str, taken: set[int]) -> list[Json]:
    """The ports, each with a node port; one number over several protocols shares it (as DNS)."""
    shared = {port.get("port"): port["nodePort"] for port in ports if port.get("nodePort")}
    found: list[Json] = []
    for port in ports:
        wanted = port.get("port")
        number = shared.get(wanted) or _free_port(f"{name}:{wanted}", taken)
        shared[wanted] = number
        taken.add(number)
        found.append(port | {"nodePort": port.get("nodePort") or number})
    return found


def _free_port(name: str, taken: set[int]) -> int:
    start = crc32(name.encode())
    candidates = (
        _NODE_PORTS[(start + step) % len(_NODE_PORTS)] for step in range(len(_NODE_PORTS))
    )
    return next((number for number in candidates if number not in taken), 0)

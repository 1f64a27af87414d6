"""`svcflows/1` files: Service worlds, and what the first packet of a flow must meet on one node.

A world names its Services and endpoints loosely; here they become the API objects that a cluster
would hold, so that everything from the wire shapes on is under test. What a file says and this
module does not understand is an error, never passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from steppe.kube import service_wire as wire
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import EndpointSlice, Service, service_from, slice_from
from steppe.net.address import parse_address, parse_interface, parse_prefix
from steppe.net.packet import Packet
from steppe.oracle.service import Answer, World


class Port(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str
    port: int
    protocol: str
    target_port: int
    node_port: int = 0


class FileService(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str
    type: str
    ports: list[Port]
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_ips: list[str] = msgspec.field(name="externalIPs", default_factory=list)
    load_balancer_ips: list[str] = msgspec.field(name="loadBalancerIPs", default_factory=list)
    load_balancer_source_ranges: list[str] = []
    external_traffic_policy: str | None = None
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None


class FileHints(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    for_zones: list[str] = []
    for_nodes: list[str] = []


class FileEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ip: str
    node: str
    ready: bool
    serving: bool
    terminating: bool
    hints: FileHints = FileHints()


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Literal["DNAT", "REJECT", "DROP", "PASS"]
    endpoints: list[str] = []
    masquerade: bool = False


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    source: str = msgspec.field(name="from")
    destination: str = msgspec.field(name="to")
    port: int
    protocol: Literal["TCP", "UDP", "SCTP"]
    expect: Expectation

    @property
    def packet(self) -> Packet:
        source, destination = parse_address(self.source), parse_address(self.destination)
        return Packet(source, destination, self.protocol, 40000, self.port)


class FileWorld(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    id: str
    description: str
    services: list[FileService]
    endpoints: dict[str, list[FileEndpoint]]
    flows: list[Flow]
    node_zone: str = ""
    node_port_addresses: list[str] = []


class FileNode(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: str
    addresses: list[str]
    pod_cidr: str = msgspec.field(name="podCIDR")
    service_cidr: str = msgspec.field(name="serviceCIDR")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal["svcflows/1"]
    note: str
    node: FileNode
    worlds: list[FileWorld]


def read(path: Path) -> File:
    """The file, checked; msgspec.ValidationError says where it is not understood."""
    return msgspec.json.decode(path.read_bytes(), type=File)


def is_service_flows(path: Path) -> bool:
    head = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return head.get("schema") == "svcflows/1"


def world_of(file: File, world: FileWorld) -> World:
    """The cluster that a world stands for, as node n1 sees it."""
    return World(
        node=_node(file.node),
        services=tuple(_service(service) for service in world.services),
        slices=tuple(_slices(world)),
        zone=world.node_zone,
        node_port_addresses=tuple(map(parse_prefix, world.node_port_addresses)),
        service_ranges=(parse_prefix(file.node.service_cidr),),
    )


def _node(seen: FileNode) -> Node:
    addresses = tuple(map(parse_address, seen.addresses))
    own = tuple(parse_interface(f"{address}/24") for address in addresses)
    prefixes = pod_cidrs(seen.name, [parse_prefix(seen.pod_cidr)])
    return Node(seen.name, "", prefixes, addresses, Underlay("eth0", 1500, own))


def _service(seen: FileService) -> Service:
    document = {
        "metadata": {"namespace": "default", "name": seen.name},
        "spec": {
            "type": seen.type,
            "clusterIP": seen.cluster_ip,
            "clusterIPs": [seen.cluster_ip],
            "ports": [
                {"name": p.name, "port": p.port, "protocol": p.protocol, "nodePort": p.node_port}
                for p in seen.ports
            ],
            "externalIPs": seen.external_ips,
            "externalTrafficPolicy": seen.external_traffic_policy,
            "internalTrafficPolicy": seen.internal_traffic_policy,
            "loadBalancerSourceRanges": seen.load_balancer_source_ranges,
            "trafficDistribution": seen.traffic_distribution,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in seen.load_balancer_ips]}},
    }
    service, problems = service_from(msgspec.convert(document, wire.Service))
    if problems:
        raise ValueError(f"{seen.name}: {problems[0]}")
    return service


def _slices(world: FileWorld) -> Iterator[EndpointSlice]:
    for service in world.services:
        endpoints = world.endpoints.get(service.name, [])
        document = {
            "metadata": {
                "namespace": "default",
                "name": f"{service.name}-1",
                "labels": {"kubernetes.io/service-name": service.name},
            },
            "addressType": "IPv4",
            "ports": [
                {"name": p.name, "protocol": p.protocol, "port": p.target_port}
                for p in service.ports
            ],
            "endpoints": [_endpoint(endpoint) for endpoint in endpoints],
        }
        slice_, problems = slice_from(msgspec.convert(document, wire.EndpointSlice))
        if problems:
            raise ValueError(f"{service.name}: {problems[0]}")
        yield slice_


def _endpoint(seen: FileEndpoint) -> dict[str, Any]:
    return {
        "addresses": [seen.ip],
        "nodeName": seen.node,
        "conditions": {
            "ready": seen.ready,
            "serving": seen.serving,
            "terminating": seen.terminating,
        },
        "hints": {
            "forZones": [{"name": zone} for zone in seen.hints.for_zones],
            "forNodes": [{"name": node} for node in seen.hints.for_nodes],
        },
    }


def disagreement(expect: Expectation, got: Answer) -> str:
    """What differs, in words; "" where nothing does."""
    action = {"pass": "PASS", "dnat": "DNAT", "reject": "REJECT", "drop": "DROP"}[got.action]
    backends = sorted(f"{address}:{port}" for address, port in got.backends)
    if (action, backends, got.masquerade) == (
        expect.action,
        sorted(expect.endpoints),
        expect.masquerade,
    ):
        return ""
    return f"expected {expect}, got {action} {backends} masquerade={got.masquerade}"

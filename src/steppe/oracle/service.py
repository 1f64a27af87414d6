"""What the Kubernetes API promises for a packet sent to a Service, written from its text alone.

The answer is for the first packet of a flow on one node, which may run the sender or only receive
the packet. Written for readability: no tables, no indexes.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.packet import Packet

Backend = tuple[IPAddress, int]
NodePortAddresses = tuple[IPNetwork, ...] | Literal["primary"]
"""Which of a node's addresses node ports are served on, as the operator says; `()` is all."""
ExternalIPs = Literal["allow", "warn", "deny"]
"""Whether Services may have externalIPs, as the operator says: only `deny` forbids them."""


class Answer(msgspec.Struct, frozen=True):
    """`pass`: no Service matches. `dnat`: to one of the backends, each with equal probability.

    `masquerade`: the receiver sees the node's address instead of the sender's.
    """

    action: Literal["pass", "dnat", "reject", "drop"]
    backends: frozenset[Backend] = frozenset()
    masquerade: bool = False


class World(msgspec.Struct, frozen=True):
    """All that an answer may depend on. `zone` is the node's, "" where it has none. `nodes` are the
    other nodes, at least those that have the packet's destination or a prefix around it.
    """

    node: Node
    services: tuple[Service, ...]
    slices: tuple[EndpointSlice, ...]
    zone: str = ""
    node_port_addresses: NodePortAddresses = ()
    service_ranges: tuple[IPNetwork, ...] = ()
    nodes: tuple[Node, ...] = ()
    api_servers: tuple[IPAddress, ...] = ()
    external_ips: ExternalIPs = "warn"


class _Front(msgspec.Struct, frozen=True):
    """What the sender addressed: a port of a Service, at this kind of its addresses."""

    service: Service
    port: ServicePort
    kind: Literal["cluster", "external", "balancer", "node"]


def answer(world: World, packet: Packet) -> Answer:
    """What this node must do with the packet."""
    front = min(_fronts(world, packet), key=_age, default=None)
    if front is None:
        return _unknown(world, packet)
    if front.kind == "balancer" and not _admitted(front.service, packet.source):
        return Answer("drop")
    endpoints = tuple(_endpoints(world, front, packet.destination.version))
    if not _usable(endpoints):
        return Answer("reject")
    local = tuple(e for e, _ in endpoints if e.node == world.node.name)
    cluster_wide = _in_topology(world, front.service, endpoints)
    only_local = tuple((e, b) for e, b in endpoints if e in local)
    if front.kind == "cluster":
        return _internal(world, packet, front, cluster_wide, only_local)
    return _external(world, packet, front, cluster_wide, only_local)


def _fronts(world: World, packet: Packet) -> Iterator[_Front]:
    destination = packet.destination
    for service in world.services:
        # "IPFamilies is a list of IP families (e.g. IPv4, IPv6) assigned to this service": its
        # addresses of another family are ignored.
        if destination.version not in {address.version for address in service.cluster_ips}:
            continue
        for port in service.ports:
            if port.protocol != packet.protocol:
                continue
            if port.port == packet.destination_port:
                if destination in service.cluster_ips:
                    yield _Front(service, port, "cluster")
                if _is_somebodys(world, service, destination):
                    pass
                elif destination in service.external_ips:
                    if world.external_ips != "deny":
                        yield _Front(service, port, "external")
                elif destination in service.load_balancer_ips:
                    yield _Front(service, port, "balancer")
            if port.node_port == packet.destination_port and has_node_ports(
                world.node, world.node_port_addresses, destination
            ):
                yield _Front(service, port, "node")


def has_node_ports(node: Node, served: NodePortAddresses, address: IPAddress) -> bool:
    """Whether node ports are served on an address: a non-loopback address of the node.

    "Each node proxies that port (the same port number on every Node) into your Service." The
    operator chooses which addresses of a node these are.
    """
    if address not in node.addresses or address.is_loopback:
        return False
    if served == "primary":
        of_family = [each for each in node.addresses if each.version == address.version]
        return address == of_family[0]
    return not served or any(address in prefix for prefix in served)


def _is_somebodys(world: World, service: Service, address: IPAddress) -> bool:
    """Whether an address that a Service names from outside the cluster is given out inside it: then
    "a malicious user … could intercept traffic to" it (CVE-2020-8554), whoever is older.
    """
    for node in (world.node, *world.nodes):
        if address in (*node.addresses, *node.external_addresses) or node.has_pods_at(address):
            return True
    if any(address in range_ for range_ in world.service_ranges):
        return True
    if address in world.api_servers and not _is_api_server(service.namespace, service.name):
        return True
    others = (s for s in world.services if (s.namespace, s.name) != _name(service))
    return any(address in other.cluster_ips for other in others)


def _name(service: Service) -> tuple[str, str]:
    return service.namespace, service.name


def _is_api_server(namespace: str, name: str) -> bool:
    """Whether it is the Service that stands for the API server."""
    return (namespace, name) == ("default", "kubernetes")


def api_servers(cluster: Cluster) -> tuple[IPAddress, ...]:
    """The addresses behind the Service that stands for the API server."""
    known = cluster.services.get(("default", "kubernetes"))
    slices = cluster.slices_of(known) if known is not None else ()
    return tuple(endpoint.address for slice_ in slices for endpoint in slice_.endpoints)


def _age(front: _Front) -> tuple[str, str, str]:
    """The order of Services that have the same address and port: the oldest owns it."""
    return (front.service.created, front.service.namespace, front.service.name)


def _unknown(world: World, packet: Packet) -> Answer:
    """Other ports of a cluster IP are refused; unused addresses of a service range are dropped."""
    owned = {address for service in world.services for address in service.cluster_ips}
    if packet.destination in owned:
        return Answer("reject")
    if any(packet.destination in range_ for range_ in world.service_ranges):
        return Answer("drop")
    return Answer("pass")


def _admitted(service: Service, source: IPAddress) -> bool:
    """Whether loadBalancerSourceRanges admits this sender: "this will restrict traffic through
    the cloud-provider load-balancer … to the specified client IPs."
    """
    return not service.restricted or any(source in range_ for range_ in service.source_ranges)


def _endpoints(world: World, front: _Front, version: int) -> Iterator[tuple[Endpoint, Backend]]:
    """Every endpoint of the Service's port in the address's family, each once."""
    seen: set[Backend] = set()
    for slice_ in world.slices:
        if (slice_.namespace, slice_.service) != (front.service.namespace, front.service.name):
            continue
        number = slice_.port(front.port)
        for endpoint in slice_.endpoints if number else ():
            backend = (endpoint.address, number)
            if endpoint.address.version == version and backend not in seen:
                seen.add(backend)
                yield endpoint, backend


Candidates = tuple[tuple[Endpoint, Backend], ...]


def _usable(candidates: Candidates) -> Candidates:
    """The ready endpoints; if there are none, "consumers … should … direct traffic to terminating
    endpoints that are serving" (the ready and serving conditions of EndpointConditions).
    """
    ready = tuple((e, b) for e, b in candidates if e.ready)
    return ready or tuple((e, b) for e, b in candidates if e.serving and e.terminating)


def _in_topology(world: World, service: Service, candidates: Candidates) -> Candidates:
    """The endpoints that trafficDistribution and the slices' hints select for this node."""
    ready = tuple((e, b) for e, b in candidates if e.ready)
    if not ready:
        return _usable(candidates)
    if service.distribution == "PreferSameNode" and all(e.nodes for e, _ in ready):
        here = tuple((e, b) for e, b in ready if world.node.name in e.nodes)
        if here:
            return here
    if world.zone and all(e.zones for e, _ in ready):
        near = tuple((e, b) for e, b in ready if world.zone in e.zones)
        if near:
            return near
    return ready


def _internal(
    world: World, packet: Packet, front: _Front, everywhere: Candidates, local: Candidates
) -> Answer:
    """Traffic to the cluster IP: "internalTrafficPolicy describes how nodes distribute service
    traffic they receive on the ClusterIP. If set to "Local", the proxy will assume that pods
    only want to talk to endpoints of the service on the same node as the pod, dropping the
    traffic if there are no local endpoints."
    """
    chosen = _usable(local) if front.service.internal_local else everywhere
    if not chosen:
        return Answer("drop")
    return Answer("dnat", _backends(chosen), masquerade=not _is_local_pod(world, packet.source))


def _external(
    world: World, packet: Packet, front: _Front, everywhere: Candidates, local: Candidates
) -> Answer:
    """Traffic to every other address: "externalTrafficPolicy describes how nodes distribute
    service traffic they receive on one of the Service's "externally-facing" addresses … If set
    to "Local", the proxy will … deliver to node-local endpoints of the service, without
    masquerading the client source IP. (Traffic mistakenly sent to a node with no endpoints will
    be dropped.) … Note that traffic sent to an External IP or LoadBalancer IP from within the
    cluster will always get "Cluster" semantics".
    """
    if not front.service.external_local:
        return Answer("dnat", _backends(everywhere), masquerade=True)
    if _is_local_pod(world, packet.source):
        return Answer("dnat", _backends(everywhere), masquerade=False)
    if packet.source in world.node.addresses:
        return Answer("dnat", _backends(everywhere), masquerade=True)
    chosen = _usable(local)
    return Answer("dnat", _backends(chosen)) if chosen else Answer("drop")


def _is_local_pod(world: World, source: IPAddress) -> bool:
    return world.node.has_pods_at(source)


def _backends(candidates: Candidates) -> frozenset[Backend]:
    return frozenset(backend for _, backend in candidates)

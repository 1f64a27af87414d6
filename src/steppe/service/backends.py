"""Which endpoints each address of a Service leads to, as seen from one node.

A place is an address, protocol and port that the node answers for; a frontend is a place with
its endpoints, in a fixed order, so that the same Service always compiles to the same tables.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Self

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, of_version
from steppe.settings import NodePortAddresses

Kind = Literal["cluster", "external", "balancer", "node"]
Place = tuple[IPAddress, str, int]


class Vantage(msgspec.Struct, frozen=True, gc=False):
    """One node as Services see it, and its addresses that Services may have ports on."""

    node: Node
    node_ports: tuple[IPAddress, ...]

    @classmethod
    def of(cls, node: Node, served: NodePortAddresses) -> Self:
        """With the addresses that the operator chose."""
        if served == "primary":
            primary = (of_version(node.addresses, version) for version in (4, 6))
            return cls(node, tuple(address for address in primary if address is not None))
        chosen = (
            address
            for address in node.addresses
            if not served or any(address in prefix for prefix in served)
        )
        return cls(node, tuple(chosen))


class Way(msgspec.Struct, frozen=True, gc=False):
    """A place of a Service, which kind of its addresses that is, and the field that names it."""

    place: Place
    port: ServicePort
    kind: Kind
    field: str


class Backend(msgspec.Struct, frozen=True, gc=False):
    """An endpoint's address and port, and the slice that lists it first."""

    address: IPAddress
    port: int
    cause: Cause


class Frontend(msgspec.Struct, frozen=True, gc=False):
    """Where packets may be sent to, and what becomes of them.

    `inside` is for pods and processes of this node, `outside` for everyone else; they differ
    only under externalTrafficPolicy Local. No backends mean `refuse` where the Service has none
    anywhere, and a silent drop where a Local policy only finds none here.
    """

    way: Way
    inside: tuple[Backend, ...]
    outside: tuple[Backend, ...]
    refuse: bool
    local: bool = False


Known = list[tuple[Endpoint, Backend]]
"""Endpoints with what they are as backends."""


class Pools(msgspec.Struct, frozen=True, gc=False):
    """A Service port's endpoints in one family: everyone's, and this node's own."""

    everywhere: tuple[Backend, ...]
    local: tuple[Backend, ...]


def ways(vantage: Vantage, service: Service) -> tuple[Way, ...]:
    """Every place of a Service on this node, once; the first to name a place has it."""
    families = {address.version for address in service.cluster_ips}
    found: dict[Place, Way] = {}
    for port in service.ports:
        for address, number, kind, field in _addresses(vantage, service, port):
            place = (address, port.protocol, number)
            # A Service has endpoints of its own families only (ServiceSpec.ipFamilies).
            if address.version in families and place not in found:
                found[place] = Way(place, port, kind, field)
    return tuple(found.values())


def frontends(
    vantage: Vantage, service: Service, slices: Iterable[EndpointSlice], wanted: Iterable[Way]
) -> Iterator[Frontend]:
    """These ways into a Service, each with its endpoints."""
    known = tuple(slices)
    pools: dict[tuple[ServicePort, int], Pools] = {}
    for way in wanted:
        port, version = way.port, way.place[0].version
        if (port, version) not in pools:
            found = _endpoints(port, version, known)
            pools[port, version] = _pools(vantage.node, service.distribution, found)
        yield _frontend(service, way, pools[port, version])


def _addresses(
    vantage: Vantage, service: Service, port: ServicePort
) -> Iterator[tuple[IPAddress, int, Kind, str]]:
    for index, address in enumerate(service.cluster_ips):
        yield address, port.port, "cluster", f"spec.clusterIPs[{index}]"
    for index, address in enumerate(service.external_ips):
        yield address, port.port, "external", f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        yield address, port.port, "balancer", "status.loadBalancer.ingress"
    if port.node_port:
        for address in vantage.node_ports:
            # Never on loopback: what a node says to itself leaves it for no endpoint.
            if not address.is_loopback:
                yield address, port.node_port, "node", "spec.ports.nodePort"


def _frontend(service: Service, way: Way, pools: Pools) -> Frontend:
    internal = way.kind == "cluster"
    only_local = service.internal_local if internal else service.external_local
    outside = pools.local if only_local else pools.everywhere
    return Frontend(
        way=way,
        inside=outside if internal else pools.everywhere,
        outside=outside,
        refuse=not pools.everywhere,
        local=only_local and not internal,
    )


def _endpoints(port: ServicePort, version: int, slices: tuple[EndpointSlice, ...]) -> Known:
    """Each address and port once, in order; the slice that names it first has it."""
    family = IPv4Address if version == 4 else IPv6Address
    # By numbers, for addresses are slow at hashing and comparing.
    found: dict[tuple[int, int], tuple[Endpoint, Backend]] = {}
    for slice_ in slices:
        number, ref = slice_.port(port), slice_.ref
        for index, endpoint in enumerate(slice_.endpoints if number else ()):
            address = endpoint.address
            if not isinstance(address, family):
                continue
            key = (int(address), number)
            if key not in found:
                found[key] = (endpoint, Backend(address, number, Cause(ref, _field(index))))
    return [found[key] for key in sorted(found)]


@lru_cache(maxsize=1 << 12)
def _field(index: int) -> str:
    """One text for all of the many endpoints that stand at this place of their slice."""
    return f"endpoints[{index}]"


def _pools(here: Node, distribution: str, found: Known) -> Pools:
    local = [known for known in found if known[0].node == here.name]
    return Pools(
        tuple(backend for _, backend in _near(here, distribution, _usable(found))),
        tuple(backend for _, backend in _usable(local)),
    )


def _usable(found: Known) -> Known:
    """Ready endpoints; while there are none, those that still serve while they terminate."""
    ready = [known for known in found if known[0].ready]
    return ready or [known for known in found if known[0].serving and known[0].terminating]


def _near(here: Node, distribution: str, found: Known) -> Known:
    """Those that hints reserve for this node, then this zone; all where hints are incomplete."""
    if not all(endpoint.ready for endpoint, _ in found):
        return found
    if distribution == "PreferSameNode" and all(endpoint.nodes for endpoint, _ in found):
        chosen = [known for known in found if here.name in known[0].nodes]
        if chosen:
            return chosen
    if here.zone and all(endpoint.zones for endpoint, _ in found):
        chosen = [known for known in found if here.zone in known[0].zones]
        if chosen:
            return chosen
    return found

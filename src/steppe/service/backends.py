"""Which endpoints each address of a Service leads to, as seen from one node.

Endpoints are in a fixed order, so that the same Service always compiles to the same tables.

Where two Services name one frontend, the older has all of it; not one entry is the other's, so
nobody can widen another's source ranges or divert its traffic by naming its address.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Self

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, of_version
from steppe.service.table import Backend, Backends, Frontend, ServiceTable, SourceRanges
from steppe.settings import NodePortAddresses

Kind = Literal["cluster", "external", "balancer", "node"]


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
    """A frontend of a Service, which kind of its addresses that is, and the field that names it."""

    front: Frontend
    port: ServicePort
    kind: Kind
    field: str


Known = list[tuple[Endpoint, Backend]]
"""Endpoints with what they are as backends."""


class Pools(msgspec.Struct, frozen=True, gc=False):
    """A Service port's endpoints in one family: everyone's, and this node's own."""

    everywhere: tuple[Backend, ...]
    local: tuple[Backend, ...]


def service_table(
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    owner: Callable[[Frontend], ObjectRef],
) -> ServiceTable:
    """The rows of one Service on this node; `owner` says whose a frontend is."""
    ref = service.ref
    own: list[Way] = []
    problems: list[Problem] = []
    for way in ways(vantage, service):
        rival = owner(way.front)
        if rival == ref:
            own.append(way)
        else:
            problems.append(_taken(service, way, rival))
    return ServiceTable(
        ref,
        tuple(
            (address, Cause(ref, f"spec.clusterIPs[{index}]"))
            for index, address in enumerate(service.cluster_ips)
        ),
        tuple(frontends(vantage, service, slices, own)),
        tuple(problems),
    )


def ways(vantage: Vantage, service: Service) -> tuple[Way, ...]:
    """Every frontend of a Service on this node, once; the first to name one has it."""
    families = {address.version for address in service.cluster_ips}
    found: dict[Frontend, Way] = {}
    for port in service.ports:
        for address, number, kind, field in _addresses(vantage, service, port):
            front = Frontend(address, port.protocol, number)
            # A Service has endpoints of its own families only (ServiceSpec.ipFamilies).
            if address.version in families and front not in found:
                found[front] = Way(front, port, kind, field)
    return tuple(found.values())


def frontends(
    vantage: Vantage, service: Service, slices: Iterable[EndpointSlice], wanted: Iterable[Way]
) -> Iterator[tuple[Frontend, Backends]]:
    """These ways into a Service, each with its endpoints."""
    # Of two slices that list one endpoint the first by name is its cause.
    known = tuple(sorted(slices, key=lambda slice_: slice_.name))
    pools: dict[tuple[ServicePort, int], Pools] = {}
    for way in wanted:
        port, version = way.port, way.front.address.version
        if (port, version) not in pools:
            found = _endpoints(port, version, known)
            pools[port, version] = _pools(vantage.node, service.distribution, found)
        yield way.front, _backends(service, way, pools[port, version])


def _taken(service: Service, way: Way, rival: ObjectRef) -> Problem:
    return Problem(
        Cause(service.ref, way.field),
        f"{way.front} is already served for {rival}, which is older; "
        "change one of the two Services",
    )


def _addresses(
    vantage: Vantage, service: Service, port: ServicePort
) -> Iterator[tuple[IPAddress, int, Kind, str]]:
    for index, address in enumerate(service.cluster_ips):
        yield address, port.port, "cluster", f"spec.clusterIPs[{index}]"
    for index, address in enumerate(service.external_ips):
        if address not in service.refused:
            yield address, port.port, "external", f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        if address not in service.refused:
            yield address, port.port, "balancer", "status.loadBalancer.ingress"
    if port.node_port:
        for address in vantage.node_ports:
            # Never on loopback: what a node says to itself leaves it for no endpoint.
            if not address.is_loopback:
                yield address, port.node_port, "node", "spec.ports.nodePort"


def _backends(service: Service, way: Way, pools: Pools) -> Backends:
    internal = way.kind == "cluster"
    only_local = service.internal_local if internal else service.external_local
    outside = pools.local if only_local else pools.everywhere
    return Backends(
        cause=Cause(service.ref, way.field),
        inside=outside if internal else pools.everywhere,
        outside=outside,
        refuse=not pools.everywhere,
        local=only_local and not internal,
        masquerade=not internal,
        affinity_seconds=service.affinity_seconds,
        admitted=_admitted(service, way),
    )


def _admitted(service: Service, way: Way) -> SourceRanges | None:
    if way.kind != "balancer" or not service.restricted:
        return None
    version = way.front.address.version
    prefixes = tuple(prefix for prefix in service.source_ranges if prefix.version == version)
    return SourceRanges(prefixes, Cause(service.ref, "spec.loadBalancerSourceRanges"))


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

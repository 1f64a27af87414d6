"""The frontends and backends of a Service on one node.

Backends are in a fixed order, so that the same Service always compiles to the same tables.

If two Services have the same frontend, the older Service owns it completely. So nobody can widen
another Service's source ranges or divert its traffic by using its address.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Self

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, of_version
from steppe.service.limits import fitting
from steppe.service.table import Backend, Backends, Frontend, ServiceTable, SourceRanges
from steppe.settings import NodePortAddresses

Kind = Literal["cluster", "external", "balancer", "node"]


class Vantage(msgspec.Struct, frozen=True, gc=False):
    """The node for which Services are looked at, and its addresses with node ports."""

    node: Node
    node_ports: tuple[IPAddress, ...]

    @classmethod
    def of(cls, node: Node, served: NodePortAddresses) -> Self:
        """The vantage of a node with the operator's choice of node port addresses."""
        if served == "primary":
            primary = (of_version(node.addresses, version) for version in (4, 6))
            return cls(node, tuple(address for address in primary if address is not None))
        chosen = (
            address
            for address in node.addresses
            if not served or any(address in prefix for prefix in served)
        )
        return cls(node, tuple(chosen))


class NamedFrontend(msgspec.Struct, frozen=True, gc=False):
    """A frontend of a Service, the kind of its address, and the field that it comes from."""

    front: Frontend
    port: ServicePort
    kind: Kind
    field: str


Candidates = list[tuple[Endpoint, Backend]]
"""Endpoints, each with its backend."""


_Numbered = tuple[EndpointSlice, Mapping[tuple[str, str], int]]
"""A slice, with its `numbers`."""


class UsableBackends(msgspec.Struct, frozen=True, gc=False):
    """The usable backends of a Service port in one family: all, and those on this node."""

    everywhere: tuple[Backend, ...]
    local: tuple[Backend, ...]


Owner = Callable[[Frontend], ObjectRef]
"""Returns the Service that owns a frontend."""
Rows = Iterator[tuple[Frontend, Backends]]


def service_table(
    vantage: Vantage, service: Service, slices: Iterable[EndpointSlice], owner: Owner
) -> ServiceTable:
    """All of one Service on this node."""
    whole, rows = _whole_and_rows(vantage, service, tuple(slices), owner)
    return ServiceTable(whole.service, whole.addresses, tuple(rows), whole.problems)


def service_parts(
    vantage: Vantage, service: Service, slices: Iterable[EndpointSlice], owner: Owner
) -> Iterator[ServiceTable]:
    """The same in parts: what belongs to no frontend, then each frontend's row by itself.

    A row's backends are looked for when it is asked for, of the slices that there were at first.
    """
    whole, rows = _whole_and_rows(vantage, service, tuple(slices), owner)
    yield whole
    for row in rows:
        yield ServiceTable(whole.service, rows=(row,))


def rows_of(
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    owner: Owner,
    wanted: Container[Frontend],
) -> Rows:
    """The rows of these frontends alone."""
    return _whole_and_rows(vantage, service, tuple(slices), owner, wanted)[1]


def _whole_and_rows(
    vantage: Vantage,
    service: Service,
    slices: tuple[EndpointSlice, ...],
    owner: Owner,
    wanted: Container[Frontend] | None = None,
) -> tuple[ServiceTable, Rows]:
    ref = service.ref
    service, problems = fitting(service, slices)
    unserved = frozenset(service.unserved)
    own: list[NamedFrontend] = []
    for named in named_frontends(vantage, service):
        rival = owner(named.front)
        if rival != ref:
            problems = (*problems, _taken(service, named, rival))
        elif named.port not in unserved and (wanted is None or named.front in wanted):
            own.append(named)
    addresses = tuple(
        (address, Cause(ref, _field("spec.clusterIPs", index)))
        for index, address in enumerate(service.cluster_ips)
    )
    whole = ServiceTable(ref, addresses, problems=problems)
    return whole, frontends(vantage, service, slices, own)


def named_frontends(vantage: Vantage, service: Service) -> tuple[NamedFrontend, ...]:
    """Every frontend of a Service on this node, each once (with the first field it comes from).

    Also those of ports that are not served: nobody else may have them.
    """
    families = {address.version for address in service.cluster_ips}
    found: dict[Frontend, NamedFrontend] = {}
    for port in (*service.ports, *service.unserved):
        for address, number, kind, field in _addresses(vantage, service, port):
            front = Frontend(address, port.protocol, number)
            # A Service has endpoints of its own families only (ServiceSpec.ipFamilies).
            if address.version in families and front not in found:
                found[front] = NamedFrontend(front, port, kind, field)
    return tuple(found.values())


def frontends(
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    wanted: Iterable[NamedFrontend],
) -> Iterator[tuple[Frontend, Backends]]:
    """These frontends of a Service, each with its backends; those that are not served refuse."""
    # If two slices list one endpoint, the first slice by name is its cause.
    ordered = sorted(slices, key=lambda slice_: slice_.name)
    known = tuple((slice_, slice_.numbers()) for slice_ in ordered)
    unserved = frozenset(service.unserved)
    usable: dict[tuple[ServicePort, int], UsableBackends] = {}
    for named in wanted:
        port, version = named.port, named.front.address.version
        if port in unserved:
            yield named.front, Backends(Cause(service.ref, "spec.ports"), (), (), refuse=True)
            continue
        if (port, version) not in usable:
            found = _endpoints(port, version, known)
            usable[port, version] = _usable_backends(vantage.node, service.distribution, found)
        yield named.front, _backends(service, named, usable[port, version])


def _taken(service: Service, named: NamedFrontend, rival: ObjectRef) -> Problem:
    return Problem(
        Cause(service.ref, named.field),
        f"{named.front} is already served for {rival}, which is older; "
        "change one of the two Services",
    )


def _addresses(
    vantage: Vantage, service: Service, port: ServicePort
) -> Iterator[tuple[IPAddress, int, Kind, str]]:
    for index, address in enumerate(service.cluster_ips):
        yield address, port.port, "cluster", _field("spec.clusterIPs", index)
    for index, address in enumerate(service.external_ips):
        if address not in service.refused:
            yield address, port.port, "external", f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        if address not in service.refused:
            yield address, port.port, "balancer", "status.loadBalancer.ingress"
    if port.node_port:
        for address in vantage.node_ports:
            # Never on loopback: packets from and to loopback addresses cannot leave the node.
            if not address.is_loopback:
                yield address, port.node_port, "node", "spec.ports.nodePort"


def _backends(service: Service, named: NamedFrontend, usable: UsableBackends) -> Backends:
    internal = named.kind == "cluster"
    only_local = service.internal_local if internal else service.external_local
    outside = usable.local if only_local else usable.everywhere
    return Backends(
        cause=Cause(service.ref, named.field),
        inside=outside if internal else usable.everywhere,
        outside=outside,
        refuse=not usable.everywhere,
        local=only_local and not internal,
        masquerade=not internal,
        affinity_seconds=service.affinity_seconds,
        admitted=_admitted(service, named),
    )


def _admitted(service: Service, named: NamedFrontend) -> SourceRanges | None:
    if named.kind != "balancer" or not service.restricted:
        return None
    version = named.front.address.version
    prefixes = tuple(prefix for prefix in service.source_ranges if prefix.version == version)
    return SourceRanges(prefixes, Cause(service.ref, "spec.loadBalancerSourceRanges"))


def _endpoints(port: ServicePort, version: int, slices: Iterable[_Numbered]) -> Candidates:
    """The endpoints in one family, sorted, each address and port once (of the first slice)."""
    family = IPv4Address if version == 4 else IPv6Address
    # Keyed by integers, because hashing and comparing address objects is slow.
    found: dict[tuple[int, int], tuple[Endpoint, Backend]] = {}
    for slice_, numbers in slices:
        number, ref = numbers.get((port.name, port.protocol), 0), slice_.ref
        for index, endpoint in enumerate(slice_.endpoints if number else ()):
            address = endpoint.address
            if not isinstance(address, family):
                continue
            key = (int(address), number)
            if key not in found:
                found[key] = (
                    endpoint,
                    Backend(address, number, Cause(ref, _field("endpoints", index))),
                )
    return [found[key] for key in sorted(found)]


@lru_cache(maxsize=1 << 12)
def _field(of: str, index: int) -> str:
    """One of a field's values; cached, so that many objects share one text."""
    return f"{of}[{index}]"


def _usable_backends(here: Node, distribution: str, found: Candidates) -> UsableBackends:
    local = [known for known in found if known[0].node == here.name]
    return UsableBackends(
        tuple(backend for _, backend in _near(here, distribution, _usable(found))),
        tuple(backend for _, backend in _usable(local)),
    )


def _usable(found: Candidates) -> Candidates:
    """The ready endpoints; if there are none, those that are serving and terminating."""
    ready = [known for known in found if known[0].ready]
    return ready or [known for known in found if known[0].serving and known[0].terminating]


def _near(here: Node, distribution: str, found: Candidates) -> Candidates:
    """The endpoints that hints select for this node, else this zone.

    All if hints are incomplete.
    """
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

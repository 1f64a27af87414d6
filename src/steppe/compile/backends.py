"""Which endpoints each address of a Service leads to, as seen from one node.

A frontend is one address and port that the node answers for. Its backends are in a fixed order,
so that the same Service always compiles to the same tables.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, sort_key

Kind = Literal["cluster", "external", "balancer", "node"]
Where = tuple[IPAddress, int, Kind, str]
"""An address, a port number, which kind of a Service's addresses it is, and the field of it."""


class Backend(msgspec.Struct, frozen=True):
    """An endpoint's address and port, and the slice that lists it first."""

    address: IPAddress
    port: int
    cause: Cause


class Frontend(msgspec.Struct, frozen=True):
    """Where packets may be sent to, and what becomes of them.

    `inside` is for pods and processes of this node, `outside` for everyone else; they differ
    only under externalTrafficPolicy Local. No backends mean `refuse` where the Service has none
    anywhere, and a silent drop where a Local policy only finds none here.
    """

    address: IPAddress
    port: ServicePort
    number: int
    kind: Kind
    field: str
    inside: tuple[Backend, ...]
    outside: tuple[Backend, ...]
    refuse: bool
    local: bool = False


Known = dict[tuple[IPAddress, int], tuple[Endpoint, Backend]]
"""Endpoints by address and port, each with its conditions."""


class Pools(msgspec.Struct, frozen=True):
    """A Service port's endpoints in one family: everyone's, and this node's own."""

    everywhere: tuple[Backend, ...]
    local: tuple[Backend, ...]


def frontends(
    here: Node, zone: str, service: Service, slices: Iterable[EndpointSlice]
) -> Iterator[Frontend]:
    """Every address and port of a Service on this node."""
    known = tuple(slices)
    for port in service.ports:
        found = _by_family(port, known)
        pools = {v: _pools(here, zone, service.distribution, found[v]) for v in (4, 6)}
        for address, number, kind, field in _addresses(here, service, port):
            yield _frontend(service, port, (address, number, kind, field), pools[address.version])


def _addresses(here: Node, service: Service, port: ServicePort) -> Iterator[Where]:
    for index, address in enumerate(service.cluster_ips):
        yield address, port.port, "cluster", f"spec.clusterIPs[{index}]"
    for index, address in enumerate(service.external_ips):
        yield address, port.port, "external", f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        yield address, port.port, "balancer", "status.loadBalancer.ingress"
    families = {address.version for address in service.cluster_ips}
    for address in here.addresses if port.node_port else ():
        if address.version in families:
            yield address, port.node_port, "node", "spec.ports.nodePort"


def _frontend(service: Service, port: ServicePort, where: Where, pools: Pools) -> Frontend:
    address, number, kind, field = where
    internal = kind == "cluster"
    only_local = service.internal_local if internal else service.external_local
    outside = pools.local if only_local else pools.everywhere
    return Frontend(
        address=address,
        port=port,
        number=number,
        kind=kind,
        field=field,
        inside=outside if internal else pools.everywhere,
        outside=outside,
        refuse=not pools.everywhere,
        local=only_local and not internal,
    )


def _by_family(port: ServicePort, slices: tuple[EndpointSlice, ...]) -> dict[int, Known]:
    found: dict[int, Known] = {4: {}, 6: {}}
    for slice_ in slices:
        number = slice_.port(port)
        for index, endpoint in enumerate(slice_.endpoints if number else ()):
            family = found[endpoint.address.version]
            if (endpoint.address, number) not in family:
                cause = Cause(slice_.ref, f"endpoints[{index}]")
                backend = Backend(endpoint.address, number, cause)
                family[endpoint.address, number] = (endpoint, backend)
    return found


def _pools(here: Node, zone: str, distribution: str, found: Known) -> Pools:
    local = {key: known for key, known in found.items() if known[0].node == here.name}
    return Pools(
        _ordered(_near(here.name, zone, distribution, _usable(found))),
        _ordered(_usable(local)),
    )


def _usable(found: Known) -> Known:
    """Ready endpoints; while there are none, those that still serve while they terminate."""
    ready = {key: known for key, known in found.items() if known[0].ready}
    return ready or {k: v for k, v in found.items() if v[0].serving and v[0].terminating}


def _near(node: str, zone: str, distribution: str, found: Known) -> Known:
    """Those that hints reserve for this node, then this zone; all where hints are incomplete."""
    endpoints = [endpoint for endpoint, _ in found.values()]
    if not all(e.ready for e in endpoints):
        return found
    if distribution == "PreferSameNode" and all(e.nodes for e in endpoints):
        chosen = {key: known for key, known in found.items() if node in known[0].nodes}
        if chosen:
            return chosen
    if zone and all(e.zones for e in endpoints):
        chosen = {key: known for key, known in found.items() if zone in known[0].zones}
        if chosen:
            return chosen
    return found


def _ordered(found: Known) -> tuple[Backend, ...]:
    keys = sorted(found, key=lambda key: (sort_key(key[0]), key[1]))
    return tuple(found[key][1] for key in keys)

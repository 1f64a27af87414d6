"""Services and their endpoints, checked: addresses parsed, the API's defaults filled in."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar, get_args

import msgspec

from steppe.kube import service_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.wire import own
from steppe.net.address import IPAddress, IPNetwork, parse_address, parse_prefix
from steppe.net.packet import Protocol

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
DEFAULT_AFFINITY_SECONDS = 10800
T = TypeVar("T")


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """One port of a Service; `node_port` is 0 if it has none."""

    name: str
    protocol: Protocol
    port: int
    node_port: int = 0


class Service(msgspec.Struct, frozen=True, gc=False):
    """A Service as nodes implement it. Headless and ExternalName Services have no addresses here:
    they exist in DNS alone.

    `restricted`: only senders in `source_ranges` may use load balancer addresses; nobody may if
    no range could be read. `affinity_seconds` is 0 without session affinity.
    `load_balancer_ips` contains those with ipMode VIP; `load_balancer_hosts` its other ways in,
    which nodes do not answer for: host names, and addresses with ipMode Proxy. `refused` are the
    addresses of `load_balancer_ips` and `external_ips` that belong to something else, and are not
    served (service/claims.py). `unserved` are ports that `ports` does not have for want of room
    (service/limits.py).
    """

    namespace: str
    name: str
    created: str = ""
    cluster_ips: tuple[IPAddress, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[IPAddress, ...] = ()
    load_balancer_ips: tuple[IPAddress, ...] = ()
    source_ranges: tuple[IPNetwork, ...] = ()
    restricted: bool = False
    affinity_seconds: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_port: int = 0
    distribution: str = ""
    type: str = "ClusterIP"
    headless: bool = False
    external_name: str = ""
    load_balancer_hosts: tuple[str, ...] = ()
    refused: tuple[IPAddress, ...] = ()
    unserved: tuple[ServicePort, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("Service", self.namespace, self.name)

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The Service's own addresses; not those of nodes, on which its node ports are."""
        outer = (*self.external_ips, *self.load_balancer_ips)
        if self.refused:
            outer = tuple(address for address in outer if address not in self.refused)
        return (*self.cluster_ips, *outer)


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One address of an EndpointSlice, with the defaults of its conditions filled in."""

    address: IPAddress
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class EndpointSlice(msgspec.Struct, frozen=True, gc=False):
    """Endpoints of one family that share the same ports, keyed by port name and protocol.

    `headless`: the slice belongs to a headless Service, so DNS returns its addresses and no node
    translates to them.
    """

    namespace: str
    name: str
    service: str
    ports: tuple[tuple[str, Protocol, int], ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    headless: tuple[Endpoint, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("EndpointSlice", self.namespace, self.name)

    def port(self, wanted: ServicePort) -> int:
        """The endpoints' port for a Service's port; 0 if the slice does not have it."""
        for name, protocol, number in self.ports:
            if (name, protocol) == (wanted.name, wanted.protocol):
                return number
        return 0

    def numbers(self) -> dict[tuple[str, str], int]:
        """The endpoints' port by a Service port's name and protocol: the same for all at once."""
        return {(name, protocol): number for name, protocol, number in reversed(self.ports)}


class ServiceRange(msgspec.Struct, frozen=True, gc=False):
    """A ServiceCIDR: prefixes from which cluster IPs are allocated."""

    name: str
    prefixes: tuple[IPNetwork, ...] = ()
    created: str = ""

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("ServiceCIDR", "", self.name)


def range_from(seen: wire.ServiceCIDR) -> tuple[ServiceRange, tuple[Problem, ...]]:
    """The checked range, and a Problem for each part that was left out."""
    ref = ObjectRef("ServiceCIDR", "", seen.metadata.name)
    prefixes: list[IPNetwork] = []
    problems: list[Problem] = []
    for index, text in enumerate(seen.spec.cidrs or ()):
        try:
            prefixes.append(parse_prefix(text))
        except ValueError as error:
            cause = Cause(ref, f"spec.cidrs[{index}]")
            problems.append(Problem(cause, f"not a prefix: {error}"))
    created = seen.metadata.creation_timestamp or ""
    return ServiceRange(seen.metadata.name, tuple(prefixes), created), tuple(problems)


def service_from(seen: wire.Service) -> tuple[Service, tuple[Problem, ...]]:
    """The checked Service, and a Problem for each part that was left out."""
    problems: list[Problem] = []
    meta, spec = seen.metadata, seen.spec
    ref = ObjectRef("Service", own(meta.namespace), own(meta.name))
    foreign = PROXY_NAME_LABEL in (meta.labels or {})
    if spec.type == "ExternalName" or foreign or spec.cluster_ip in ("", "None"):
        return _without_address(seen), ()
    texts = spec.cluster_ips or (spec.cluster_ip,)
    service = Service(
        namespace=ref.namespace,
        name=ref.name,
        created=own(meta.creation_timestamp or ""),
        cluster_ips=_addresses(texts, ref, "spec.clusterIPs", problems),
        ports=_ports(spec.ports or (), ref, problems),
        external_ips=_addresses(spec.external_ips or (), ref, "spec.externalIPs", problems),
        load_balancer_ips=_load_balancer_ips(seen, ref, problems),
        load_balancer_hosts=_load_balancer_hosts(seen),
        source_ranges=_ranges(spec.load_balancer_source_ranges or (), ref, problems),
        restricted=bool(spec.load_balancer_source_ranges),
        affinity_seconds=_affinity_seconds(spec),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=spec.external_traffic_policy == "Local",
        health_port=spec.health_check_node_port,
        distribution=spec.traffic_distribution or "",
        type=own(spec.type),
    )
    return service, tuple(problems)


def _without_address(seen: wire.Service) -> Service:
    """A Service that nodes do not implement: it is in DNS alone, or another proxy serves it."""
    meta, spec = seen.metadata, seen.spec
    return Service(
        meta.namespace,
        meta.name,
        meta.creation_timestamp or "",
        type=spec.type,
        headless=spec.type != "ExternalName" and spec.cluster_ip == "None",
        external_name=spec.external_name if spec.type == "ExternalName" else "",
    )


def _affinity_seconds(spec: wire.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    given = config.client_ip.timeout_seconds if config and config.client_ip else None
    return given or DEFAULT_AFFINITY_SECONDS


def _addresses(
    texts: Iterable[str], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[IPAddress, ...]:
    found: dict[IPAddress, None] = {}
    for index, text in enumerate(texts):
        cause = Cause(ref, f"{field}[{index}]")
        try:
            address = parse_address(text)
        except ValueError as error:
            problems.append(Problem(cause, f"not an address: {error}"))
            continue
        # The API refuses these for endpoints and load balancers ("may not be loopback …,
        # link-local …"): as a Service's address they would redirect traffic every machine needs.
        special = address.is_unspecified or address.is_loopback or address.is_multicast
        if special or address.is_link_local:
            problems.append(
                Problem(cause, f"{address} can be no Service's address; it is not used")
            )
            continue
        found[address] = None
    return tuple(found)


def _ports(
    seen: Iterable[wire.ServicePort], ref: ObjectRef, problems: list[Problem]
) -> tuple[ServicePort, ...]:
    ports: list[ServicePort] = []
    for index, port in enumerate(seen):
        cause = Cause(ref, f"spec.ports[{index}]")
        if port.protocol not in get_args(Protocol) or port.protocol == "ICMP":
            problems.append(Problem(cause, f"protocol {port.protocol!r} is not TCP, UDP or SCTP"))
        elif not (0 < port.port < 65536 and 0 <= port.node_port < 65536):
            problems.append(Problem(cause, f"port {port.port} is not between 1 and 65535"))
        else:
            ports.append(
                ServicePort(own(port.name), own(port.protocol), port.port, port.node_port)  # type: ignore[arg-type]
            )
    shared: tuple[ServicePort, ...] = _shared(tuple(ports))
    return shared


@lru_cache(maxsize=1 << 12)
def _shared(ports: T) -> T:
    """The ports as another object has them, which most do, to save memory."""
    return ports


def _load_balancer_ips(
    seen: wire.Service, ref: ObjectRef, problems: list[Problem]
) -> tuple[IPAddress, ...]:
    """The load balancer addresses for which nodes answer.

    "Setting this to "VIP" indicates that traffic is delivered to the node with the destination
    set to the load-balancer's IP and port. … "Proxy" … to the node or pod with the destination
    set to the node's IP and node port or the pod's" (LoadBalancerIngress.ipMode).
    """
    ingress = seen.status.load_balancer.ingress if seen.status.load_balancer else ()
    vips = [entry.ip for entry in ingress or () if entry.ip and entry.ip_mode in (None, "VIP")]
    return _addresses(vips, ref, "status.loadBalancer.ingress", problems)


def _load_balancer_hosts(seen: wire.Service) -> tuple[str, ...]:
    """The host names, and the addresses with ipMode Proxy: "Hostname is set for load-balancer
    ingress points that are DNS based (typically AWS load-balancers)" (LoadBalancerIngress).
    """
    ingress = seen.status.load_balancer.ingress if seen.status.load_balancer else ()
    proxies = (entry.ip if entry.ip_mode == "Proxy" else "" for entry in ingress or ())
    hosts = (entry.hostname or "" for entry in ingress or ())
    return tuple(own(text) for text in (*hosts, *proxies) if text)


def _ranges(texts: Iterable[str], ref: ObjectRef, problems: list[Problem]) -> tuple[IPNetwork, ...]:
    found: list[IPNetwork] = []
    for index, text in enumerate(texts):
        try:
            found.append(parse_prefix(text.strip()))  # old objects may carry blanks
        except ValueError as error:
            cause = Cause(ref, f"spec.loadBalancerSourceRanges[{index}]")
            problems.append(Problem(cause, f"not a prefix, so it lets nobody in: {error}"))
    return tuple(found)


def slice_from(seen: wire.EndpointSlice) -> tuple[EndpointSlice, tuple[Problem, ...]]:
    """The checked slice, and a Problem for each part that was left out."""
    problems: list[Problem] = []
    meta = seen.metadata
    labels = meta.labels or {}
    ref = ObjectRef("EndpointSlice", own(meta.namespace), own(meta.name))
    ports = _shared(
        tuple(
            (own(port.name or ""), own(port.protocol or "TCP"), port.port)
            for port in seen.ports or ()
            if port.port is not None and 0 < port.port < 65536
        )
    )
    headless = HEADLESS_LABEL in labels
    # "FQDN" is the third type: names, to which no packet can be sent.
    known = seen.address_type in ("IPv4", "IPv6")
    endpoints = _endpoints(seen, ref, problems) if known else ()
    return (
        EndpointSlice(
            ref.namespace,
            ref.name,
            own(labels.get(SERVICE_NAME_LABEL, "")),
            ports,
            () if headless else endpoints,
            endpoints if headless else (),
        ),
        tuple(problems),
    )


def _endpoints(
    seen: wire.EndpointSlice, ref: ObjectRef, problems: list[Problem]
) -> tuple[Endpoint, ...]:
    family = IPv4Address if seen.address_type == "IPv4" else IPv6Address
    found: list[Endpoint] = []
    for index, endpoint in enumerate(seen.endpoints or ()):
        # "Consumers must handle different types of addresses in the context of their own
        # capabilities. … kube-proxy only uses the first" (Endpoint.addresses)
        text = (endpoint.addresses or ("",))[0]
        try:
            address = parse_address(text)
        except ValueError as error:
            problems.append(Problem(_addresses_of(ref, index), f"not an address: {error}"))
            continue
        if not isinstance(address, family):
            what = f"{address} in a slice of {seen.address_type}"
            problems.append(Problem(_addresses_of(ref, index), what))
            continue
        found.append(_endpoint(endpoint, address))
    return tuple(found)


def _addresses_of(ref: ObjectRef, index: int) -> Cause:
    return Cause(ref, f"endpoints[{index}].addresses")


def _endpoint(seen: wire.Endpoint, address: IPAddress) -> Endpoint:
    # "A nil value should be interpreted as "true"" (ready); "If nil, consumers should defer to
    # the ready condition" (serving); nil means false (terminating).
    ready = seen.conditions.ready is not False
    serving = ready if seen.conditions.serving is None else seen.conditions.serving
    node = own(seen.node_name) if seen.node_name else ""
    terminating = bool(seen.conditions.terminating)
    if seen.hints is None:
        return Endpoint(address, node, ready, serving, terminating)
    zones = tuple(own(hint.name) for hint in seen.hints.for_zones or ())
    nodes = tuple(own(hint.name) for hint in seen.hints.for_nodes or ())
    return Endpoint(address, node, ready, serving, terminating, zones, nodes)

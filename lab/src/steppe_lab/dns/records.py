"""The cluster's Services and endpoints, with the look-ups that DNS questions need.

The stores are fed by informers (or by a test); nothing here is derived from the order in which they
were fed. What a name means is decided in `zone`.
"""

import asyncio
import re
from collections.abc import Callable, Iterator

import msgspec

from steppe.client.client import Client
from steppe.client.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from steppe.client.store import Store, keep, key_of
from steppe.net.address import IPAddress, parse_address
from steppe_lab.dns.objects import Endpoint, EndpointSlice, Namespace, Service

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VERSIONS = {"IPv4": 4, "IPv6": 6}


class Port(msgspec.Struct, frozen=True):
    """A named port in the form that questions use: lower case, no underscores."""

    name: str
    protocol: str
    number: int


class Member(msgspec.Struct, frozen=True):
    """One ready endpoint of a headless Service, by one of its addresses."""

    hostname: str
    address: IPAddress
    ports: tuple[Port, ...]


class Records:
    """Namespaces, Services and EndpointSlices, and the ways to find them."""

    def __init__(self) -> None:
        self.namespaces: Store[Namespace] = Store()
        self.services: Store[Service] = Store()
        self.slices: Store[EndpointSlice] = Store()
        self._slices_of = self.slices.index(lambda one: ((one.metadata.namespace, one.service),))
        self._slices_at = self.slices.index(_slice_addresses)
        self._services_at = self.services.index(cluster_ips)
        self.missing = {"namespaces", "services", "endpointslices"}
        """The kinds whose first list is not complete yet."""
        self.serial = 0
        """Grows with every change, as an SOA's serial number should."""
        for store in (self.namespaces, self.services, self.slices):
            store.listen(self._changed)

    def _changed(self, *_: object) -> None:
        self.serial = (self.serial + 1) % 2**32

    @property
    def complete(self) -> bool:
        """Whether every list is complete: before that, a missing name must not become NXDOMAIN."""
        return not self.missing

    def watch(self, client: Client, group: asyncio.TaskGroup) -> None:
        """Keep all three up to date for as long as the group lives."""
        group.create_task(
            keep(self.namespaces, client, NAMESPACES, Namespace, self._in("namespaces"))
        )
        group.create_task(keep(self.services, client, SERVICES, Service, self._in("services")))
        group.create_task(
            keep(self.slices, client, ENDPOINTSLICES, EndpointSlice, self._in("endpointslices"))
        )

    def _in(self, name: str) -> Callable[[], None]:
        return lambda: self.missing.discard(name)

    def namespace_exists(self, name: str) -> bool:
        return self.namespaces.get("", name) is not None

    def members(self, service: Service) -> Iterator[Member]:
        """The ready endpoints of a headless Service."""
        for one in self._slices_of[key_of(service)]:
            yield from _members(service, one)

    def service_at(self, address: IPAddress) -> Service | None:
        """The Service with this cluster IP."""
        # The API gives an address to one Service only; if two have it, the answer must be stable.
        return min(self._services_at[address], key=key_of, default=None)

    def members_at(self, address: IPAddress) -> Iterator[tuple[Service, Member]]:
        """The headless Services that have a ready endpoint with this address."""
        for one in self._slices_at[address]:
            service = self.services.get(one.metadata.namespace, one.service)
            if service is not None and service.headless:
                for member in _members(service, one):
                    if member.address == address:
                        yield service, member


def cluster_ips(service: Service) -> tuple[IPAddress, ...]:
    """The addresses of a Service that has its own; none for headless and ExternalName ones."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return ()
    found = (parsed_address(text) for text in spec.cluster_ips or (spec.cluster_ip,))
    return tuple(address for address in found if address is not None)


def service_ports(service: Service) -> tuple[Port, ...]:
    """The ports with names: "Unnamed ports do not have an SRV record"."""
    return tuple(
        Port(port.name.lower(), port.protocol.lower(), port.port)
        for port in service.spec.ports or ()
        if port.name
    )


def _members(service: Service, seen: EndpointSlice) -> Iterator[Member]:
    ports = tuple(
        Port(port.name.lower(), (port.protocol or "TCP").lower(), port.port)
        for port in seen.ports or ()
        if port.name and port.port is not None
    )
    for endpoint in seen.endpoints or ():
        address = _endpoint_address(seen, endpoint)
        # "publishNotReadyAddresses indicates that any agent which deals with endpoints for this
        # Service should disregard any indications of ready/not-ready." A nil condition is ready.
        ready = endpoint.conditions.ready is not False or service.spec.publish_not_ready_addresses
        if address is not None and ready:
            yield Member(_hostname(endpoint, address), address, ports)


def _hostname(endpoint: Endpoint, address: IPAddress) -> str:
    """The endpoint's own hostname, or "a unique, system-assigned identifier": as CoreDNS's, its
    address with hyphens.
    """
    given = (endpoint.hostname or "").lower()
    if _DNS_LABEL.fullmatch(given):
        return given
    return str(address).replace(".", "-").replace(":", "-")


def _slice_addresses(seen: EndpointSlice) -> set[IPAddress]:
    found = (_endpoint_address(seen, endpoint) for endpoint in seen.endpoints or ())
    return {address for address in found if address is not None}


def _endpoint_address(seen: EndpointSlice, endpoint: Endpoint) -> IPAddress | None:
    # "No semantics are defined for additional addresses beyond the first" (Endpoint.addresses)
    address = parsed_address((endpoint.addresses or ("",))[0])
    if address is None or address.version != _VERSIONS.get(seen.address_type):
        return None
    return address


def parsed_address(text: str) -> IPAddress | None:
    """The address in text, if it is one."""
    try:
        return parse_address(text)
    except ValueError:
        return None

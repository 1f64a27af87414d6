"""Which addresses from outside a Service may take, and which are somebody else's.

`externalIPs` and load balancers' addresses are free text to whoever may write a Service or its
status: a node that served them all would hand over any address that its pods talk to
(CVE-2020-8554). So an address is refused that is a node's, a pod's, a cluster IP or the API
server's, however old the Service is: those were given out by the cluster, these are only asked for.
Whether there may be externalIPs at all, the operator says.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.kube.cause import Cause, Problem
from steppe.kube.claims import NodeClaims, Part
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress
from steppe.net.overlaps import Block, Overlaps, block_of
from steppe.settings import ExternalIPs

ServiceName = tuple[str, str]
"""Namespace and name."""
API_SERVER: ServiceName = ("default", "kubernetes")
"""The Service that stands for the API server: "the kubernetes service in the default namespace"."""
NEVER = "the address is not served; give the Service one that is nobody's"


class ServiceClaims:
    """The addresses that Services name, and which of them are not theirs to take.

    Invariant: what is refused depends on the Nodes, ServiceCIDRs and Services that are present, and
    never on the order in which they came.
    """

    def __init__(self, claims: NodeClaims, external_ips: ExternalIPs = "warn") -> None:
        self._claims = claims
        self._external_ips = external_ips
        self._asked: dict[ServiceName, Service] = {}
        self._named: Overlaps[ServiceName] = Overlaps()
        self._cluster_ips: dict[IPAddress, tuple[ServiceName, ...]] = {}
        self._api_servers: frozenset[IPAddress] = frozenset()

    @classmethod
    def of(
        cls,
        claims: NodeClaims,
        external_ips: ExternalIPs,
        services: Iterable[tuple[Service, Iterable[EndpointSlice]]],
    ) -> "ServiceClaims":
        """Of Services, each with the slices that list its endpoints."""
        asking = cls(claims, external_ips)
        for service, slices in services:
            asking.ask(service)
            if _name(service) == API_SERVER:
                asking.set_api_servers(slices)
        return asking

    def ask(self, service: Service) -> frozenset[ServiceName]:
        """What the Service names now; answers the Services that this may concern."""
        name = _name(service)
        concerned = self.withdraw(name)
        self._asked[name] = service
        for address in _outer(service):
            self._named.add(block_of(address), name)
        for address in dict.fromkeys(service.cluster_ips):
            self._cluster_ips[address] = (*self._cluster_ips.get(address, ()), name)
        return concerned | self.near(map(block_of, service.cluster_ips))

    def withdraw(self, name: ServiceName) -> frozenset[ServiceName]:
        service = self._asked.pop(name, None)
        if service is None:
            return frozenset((name,))
        for address in _outer(service):
            self._named.discard(block_of(address), name)
        for address in dict.fromkeys(service.cluster_ips):
            holders = tuple(each for each in self._cluster_ips.pop(address) if each != name)
            if holders:
                self._cluster_ips[address] = holders
        return frozenset((name,)) | self.near(map(block_of, service.cluster_ips))

    def set_api_servers(self, slices: Iterable[EndpointSlice]) -> frozenset[ServiceName]:
        """The endpoints of API_SERVER; answers the Services that this may concern."""
        before = self._api_servers
        self._api_servers = frozenset(e.address for each in slices for e in each.endpoints)
        return self.near(map(block_of, before ^ self._api_servers))

    def near(self, blocks: Iterable[Block]) -> frozenset[ServiceName]:
        """The Services that name an address from outside in these blocks."""
        return frozenset(name for block in blocks for name in self._named.overlapping(block))

    def service(self, service: Service) -> Service:
        """The Service, with what it must not take marked as refused."""
        if not _outer(service):
            return service
        refused = dict.fromkeys((*service.refused, *self._refused(service)))
        return msgspec.structs.replace(service, refused=tuple(refused))

    def problems(self, service: Service) -> Iterator[Problem]:
        """Why each address is refused, and what is doubtful about the others."""
        if not _outer(service):
            return
        refused = self._refused(service)
        for address, field in _fields(service):
            if address in refused:
                yield Problem(Cause(service.ref, field), refused[address])
        if self._external_ips == "warn" and not refused.keys() >= set(service.external_ips):
            yield Problem(Cause(service.ref, "spec.externalIPs"), DOUBTFUL)

    def _refused(self, service: Service) -> Mapping[IPAddress, str]:
        found: dict[IPAddress, str] = {}
        for address, field in _fields(service):
            why = self._why_not(service, address)
            if why:
                found[address] = f"{address} {why}; {NEVER}"
            elif self._external_ips == "deny" and field.startswith("spec.externalIPs"):
                found[address] = DENIED
        return found

    def _why_not(self, service: Service, address: IPAddress) -> str:
        holder = self._claims.holder(address)
        if holder is not None:
            return _held(holder)
        others = [each for each in self._cluster_ips.get(address, ()) if each != _name(service)]
        if others:
            return f"is the cluster IP of {self._asked[min(others)].ref}"
        if address in self._api_servers and _name(service) != API_SERVER:
            return "is the API server's"
        return ""


DOUBTFUL = (
    "externalIPs let whoever may write a Service take any address that pods talk to "
    "(CVE-2020-8554), and Kubernetes deprecates the field; use type LoadBalancer or a Gateway, and "
    "have agents run with --external-ips deny, or allow where all who write Services are trusted"
)
DENIED = (
    "externalIPs are not served here (--external-ips deny), for they let whoever may write a "
    "Service take any address (CVE-2020-8554); use type LoadBalancer or a Gateway"
)


def _held(holder: Part) -> str:
    match holder.kind:
        case "prefix":
            return f"lies in the {holder}"
        case "range":
            return f"lies in the {holder}, where cluster IPs are taken from"
    return f"is an address of {holder.ref}"


def _name(service: Service) -> ServiceName:
    return service.namespace, service.name


def _outer(service: Service) -> tuple[IPAddress, ...]:
    return (*service.external_ips, *service.load_balancer_ips)


def _fields(service: Service) -> Iterator[tuple[IPAddress, str]]:
    for index, address in enumerate(service.external_ips):
        yield address, f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        if address not in service.external_ips:
            yield address, "status.loadBalancer.ingress"

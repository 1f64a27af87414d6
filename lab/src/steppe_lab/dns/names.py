"""What exists at each name of the cluster: the DNS specification for Services and pods, 1.1.0.

A name is looked at by its labels below the zone's origin. Three things can be found there:

    None             nothing, and nothing below it
    {}               no records, but names below it
    {A: …, AAAA: …}  records by their type

`zone` makes answers of this. The specification, which is quoted here:
https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from collections.abc import Callable, Iterable

import dns.exception
import dns.name
import dns.rdata
import msgspec
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from steppe.net.address import IPAddress
from steppe_lab.dns.objects import Service
from steppe_lab.dns.records import Port, Records, cluster_ips, parsed_address, service_ports
from steppe_lab.dns.reverse import IP4_ARPA, IP6_ARPA, is_half_address, reverse_address

SCHEMA_VERSION = "1.1.0"
# "The priority and weight are numbers … whose values are not prescribed": all alike.
_SRV_PRIORITY, _SRV_WEIGHT = 0, 100

RRs = dict[RdataType, list[dns.rdata.Rdata]]
"""The records at one name by their type."""


class Zone(msgspec.Struct, frozen=True):
    """What the server is told of itself; 5 seconds are CoreDNS's default for cluster names."""

    domain: dns.name.Name
    servers: tuple[IPAddress, ...] = ()
    ttl: int = 5

    @property
    def name_server(self) -> dns.name.Name:
        """ns.dns.<zone>, as CoreDNS calls itself."""
        return self.below("ns", "dns")

    def below(self, *labels: str) -> dns.name.Name:
        return dns.name.Name(labels).concatenate(self.domain)

    def of(self, service: Service) -> dns.name.Name:
        """<service>.<ns>.svc.<zone>"""
        return self.below(service.metadata.name, service.metadata.namespace, "svc")


def origin_of(zone: Zone, name: dns.name.Name) -> dns.name.Name | None:
    """The zone of ours that a name lies in: the cluster's, or one of the two reverse zones."""
    for origin in (zone.domain, IP4_ARPA, IP6_ARPA):
        if name.is_subdomain(origin):
            return origin
    return None


def records_at(
    zone: Zone, records: Records, name: dns.name.Name, origin: dns.name.Name
) -> RRs | None:
    """What exists at a name of one of our zones."""
    labels = name.relativize(origin).labels
    if not labels:
        return _by_type([soa(zone, records), NS(IN, RdataType.NS, zone.name_server)])
    try:
        # "All comparisons between query data and data in Kubernetes is case-insensitive."
        words = tuple(label.decode("ascii").lower() for label in labels)
    except UnicodeDecodeError:
        return None
    if origin != zone.domain:
        return _reverse(zone, records, words, origin)
    return _forward(zone, records, words)


def _forward(  # noqa: PLR0911  one return a kind of name
    zone: Zone, records: Records, words: tuple[str, ...]
) -> RRs | None:
    match words:
        case ("dns-version",):
            return _by_type([TXT(IN, RdataType.TXT, [SCHEMA_VERSION])])
        case ("ns", "dns"):
            return _by_type(map(_address, zone.servers))
        case ("dns",) | ("svc",) | ("pod",):
            return {}
        case (namespace, "svc" | "pod"):
            return {} if records.namespace_exists(namespace) else None
        case (address, namespace, "pod"):
            return _pod(address) if records.namespace_exists(namespace) else None
        case (*below, name, namespace, "svc"):
            service = records.services.get(namespace, name)
            return None if service is None else _service(zone, records, service, tuple(below))
    return None


def _service(zone: Zone, records: Records, service: Service, below: tuple[str, ...]) -> RRs | None:
    if service.spec.type == "ExternalName":
        return None if below else _external(service.spec.external_name)
    if service.headless:
        return _headless(zone, records, service, below)
    addresses = cluster_ips(service)
    if not addresses:
        return None
    if not below:
        return _by_type(map(_address, addresses))
    return _ports(below, service_ports(service), lambda port: [_srv(port, zone.of(service))])


def _headless(zone: Zone, records: Records, service: Service, below: tuple[str, ...]) -> RRs | None:
    # "If there are no ready endpoints for the headless Service, the answer should be NXDOMAIN."
    members = tuple(records.members(service))
    if not members:
        return None
    match below:
        case ():
            return _by_type(_address(member.address) for member in members)
        case (hostname,) if not hostname.startswith("_"):
            named = [member.address for member in members if member.hostname == hostname]
            return _by_type(map(_address, named)) if named else None
    ports = tuple(dict.fromkeys(port for member in members for port in member.ports))
    return _ports(
        below,
        ports,
        lambda port: [
            _srv(port, dns.name.Name((member.hostname,)).concatenate(zone.of(service)))
            for member in members
            if port in member.ports
        ],
    )


def _ports(
    below: tuple[str, ...], ports: tuple[Port, ...], records: Callable[[Port], list[SRV]]
) -> RRs | None:
    """_<port>._<proto>, and _<proto>, which has no records but such names below it."""
    match below:
        case (protocol,) if any(protocol == f"_{port.protocol}" for port in ports):
            return {}
        case (name, protocol):
            asked = [p for p in ports if (name, protocol) == (f"_{p.name}", f"_{p.protocol}")]
            return _by_type(record for port in asked for record in records(port)) or None
    return None


def _external(target: str) -> RRs | None:
    """A CNAME record, unless the target is no name.

    "Services with external names that resemble IPv4 addresses are not resolved by DNS servers."
    """
    if parsed_address(target) is not None:
        return None
    try:
        name = dns.name.from_text(target)
    except (dns.exception.DNSException, UnicodeError):
        return None
    return None if name == dns.name.root else _by_type([CNAME(IN, RdataType.CNAME, name)])


def _pod(label: str) -> RRs | None:
    """<a>-<b>-<c>-<d>.<ns>.pod.<zone>, for any address, as CoreDNS's "pods insecure"."""
    address = parsed_address(label.replace("-", ".")) or parsed_address(label.replace("-", ":"))
    return None if address is None else _by_type([_address(address)])


def _reverse(
    zone: Zone, records: Records, words: tuple[str, ...], origin: dns.name.Name
) -> RRs | None:
    if is_half_address(words, origin):
        # Names below it are not looked up.
        return {}
    address = reverse_address(words, origin)
    if address is None:
        return None
    service = records.service_at(address)
    if service is not None:
        names = {zone.of(service)}
    else:
        names = {
            dns.name.Name((member.hostname,)).concatenate(zone.of(headless))
            for headless, member in records.members_at(address)
        }
    return _by_type(PTR(IN, RdataType.PTR, name) for name in names) or None


def _address(address: IPAddress) -> A | AAAA:
    if address.version == 4:
        return A(IN, RdataType.A, str(address))
    return AAAA(IN, RdataType.AAAA, str(address))


def _srv(port: Port, target: dns.name.Name) -> SRV:
    return SRV(IN, RdataType.SRV, _SRV_PRIORITY, _SRV_WEIGHT, port.number, target)


def soa(zone: Zone, records: Records) -> SOA:
    """RFC 2308: the last number is how long "no such name" may be remembered."""
    rname = dns.name.Name(("hostmaster",)).concatenate(zone.domain)
    # Refresh, retry and expire are CoreDNS's; there are no secondaries to heed them.
    timers = (7200, 1800, 86400, zone.ttl)
    return SOA(IN, RdataType.SOA, zone.name_server, rname, records.serial, *timers)


def _by_type(rdatas: Iterable[dns.rdata.Rdata]) -> RRs:
    found: RRs = {}
    for rdata in rdatas:
        found.setdefault(rdata.rdtype, []).append(rdata)
    return found

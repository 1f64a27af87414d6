"""Small clusters for DNS tests, and questions to them."""

from ipaddress import ip_address

import dns.name
import dns.rcode
from dns.rdatatype import RdataType

from steppe.kube.wire import ObjectMeta
from steppe_lab.dns.names import Zone
from steppe_lab.dns.objects import (
    SERVICE_NAME_LABEL,
    Conditions,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Service,
    ServicePort,
    ServiceSpec,
)
from steppe_lab.dns.records import Records
from steppe_lab.dns.zone import Answer, Question, answer

ZONE = Zone(
    dns.name.from_text("cluster.local"),
    servers=(ip_address("192.0.2.11"), ip_address("2001:db8::11")),
)


def service(name: str, namespace: str = "default", **spec) -> Service:
    return Service(ObjectMeta(name=name, namespace=namespace), ServiceSpec(**spec))


def cluster_ip(name: str, *addresses: str, ports: tuple[ServicePort, ...] = ()) -> Service:
    return service(name, cluster_ip=addresses[0], cluster_ips=addresses, ports=ports)


def headless(name: str, **spec) -> Service:
    return service(name, cluster_ip="None", cluster_ips=("None",), **spec)


def endpoint(address: str, hostname: str | None = None, ready: bool | None = True) -> Endpoint:
    return Endpoint((address,), Conditions(ready), hostname)


def endpoints(
    of: str, *found: Endpoint, ports: tuple[EndpointPort, ...] = (), name: str = ""
) -> EndpointSlice:
    version = ip_address(found[0].addresses[0]).version if found else 4
    meta = ObjectMeta(
        name=name or f"{of}-ipv{version}", namespace="default", labels={SERVICE_NAME_LABEL: of}
    )
    return EndpointSlice(meta, f"IPv{version}", found, ports)


def records(*objects: Service | EndpointSlice, namespaces: tuple[str, ...] = ("default",)):
    """A cluster of these, every list of which is in."""
    found = Records()
    found.namespaces.replace(Namespace(ObjectMeta(name=name)) for name in namespaces)
    found.services.replace(one for one in objects if isinstance(one, Service))
    found.slices.replace(one for one in objects if isinstance(one, EndpointSlice))
    found.missing.clear()
    return found


def ask(cluster: Records, name: str, type_: str) -> Answer:
    return answer(ZONE, cluster, Question(dns.name.from_text(name), RdataType[type_]))


def said(found: Answer) -> list[str]:
    """The answer section, a line a record, without the TTL that all have in common."""
    return _lines(found.answer)


def also(found: Answer) -> list[str]:
    """The additional section."""
    return _lines(found.additional)


def _lines(rrsets) -> list[str]:
    lines = [line for rrset in rrsets for line in rrset.to_text().splitlines()]
    return sorted(" ".join(word for i, word in enumerate(line.split()) if i != 1) for line in lines)


def code(found: Answer) -> str:
    """NOERROR, NODATA, NXDOMAIN … as people say it."""
    if found.rcode == dns.rcode.NOERROR and not found.answer:
        return "NODATA"
    return dns.rcode.to_text(found.rcode)

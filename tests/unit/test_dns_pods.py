"""Which pods are the cluster's DNS, and that to find them again costs no look at every Service."""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from steppe.explain.dns import dns_pods
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Pod
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort

ADDRESS = ip_address("10.244.0.2")
SERVER = Pod("kube-system", "coredns", "uid-dns", "node-a", (ADDRESS,))
PORTS = (ServicePort("dns", "UDP", 53),)
SLICE = EndpointSlice(
    "kube-system", "dns-1", "dns", (("dns", "UDP", 53),), (Endpoint(ADDRESS, "node-a"),)
)
SERVICES = (
    Service("kube-system", "dns", cluster_ips=(ip_address("10.96.0.10"),), ports=PORTS),
    Service("shop", "dns", cluster_ips=(ip_address("10.96.0.11"),), ports=PORTS),
    Service("shop", "web", ports=(ServicePort("http", "TCP", 80),)),
)


class Counting(dict[tuple[str, str], Service]):
    """Services by name; counts how often all of them are looked at."""

    looks = 0

    def values(self) -> Iterator[Service]:  # type: ignore[override]
        self.looks += 1
        return iter(super().values())


def test_they_are_behind_port_53_of_a_service_of_a_system_namespace() -> None:
    cluster = cluster_of(pods=[SERVER], services=SERVICES, slices=[SLICE])
    assert dns_pods(cluster) == (SERVER,)
    assert dns_pods(cluster_of(pods=[SERVER], services=SERVICES[1:], slices=[SLICE])) == ()


def test_all_services_are_looked_at_once_however_often_they_are_asked_for() -> None:
    counting = Counting({(each.namespace, each.name): each for each in SERVICES})
    cluster = cluster_of(pods=[SERVER], services=SERVICES, slices=[SLICE])
    cluster = msgspec.structs.replace(cluster, services=counting)
    assert [dns_pods(cluster) for _ in range(3)] == [(SERVER,)] * 3
    assert counting.looks == 1

"""Kubernetes DNS-Based Service Discovery, 1.1.0: one test a sentence, on its examples."""

import pytest

from steppe_lab.dns.objects import EndpointPort, ServicePort
from tests.lab.dns.cluster import (
    also,
    ask,
    cluster_ip,
    code,
    endpoint,
    endpoints,
    headless,
    records,
    said,
    service,
)

HTTPS = ServicePort("https", "TCP", 443)
API = cluster_ip("kubernetes", "10.3.0.1", "2001:db8::1", ports=(HTTPS,))
PETS = (
    headless("headless", ports=(HTTPS,)),
    endpoints(
        "headless",
        endpoint("10.3.0.100", "my-pet"),
        endpoint("10.3.0.101", "my-pet-2"),
        endpoint("10.3.0.102"),
        endpoint("10.3.0.103", "my-sick-pet", ready=False),
        ports=(EndpointPort("https", "TCP", 443),),
    ),
    endpoints(
        "headless",
        endpoint("2001:db8::100", "my-pet"),
        endpoint("2001:db8::102"),
        ports=(EndpointPort("https", "TCP", 443),),
    ),
)
REVERSE_1 = ".".join("1" + "0" * 23 + "8bd01002") + ".ip6.arpa."
REVERSE_100 = ".".join("001" + "0" * 21 + "8bd01002") + ".ip6.arpa."


def test_2_1_comparisons_are_case_insensitive() -> None:
    found = ask(records(API), "Kubernetes.DEFAULT.svc.Cluster.Local.", "A")
    assert said(found) == ["Kubernetes.DEFAULT.svc.Cluster.Local. IN A 10.3.0.1"]
    found = ask(records(API), "_HTTPS._Tcp.kubernetes.default.svc.cluster.local.", "SRV")
    assert len(said(found)) == 1


def test_2_2_there_must_be_a_txt_record_with_the_schema_version() -> None:
    found = ask(records(), "dns-version.cluster.local.", "TXT")
    assert said(found) == ['dns-version.cluster.local. IN TXT "1.1.0"']


@pytest.mark.parametrize(("type_", "address"), [("A", "10.3.0.1"), ("AAAA", "2001:db8::1")])
def test_2_3_1_a_cluster_ip_is_an_a_or_aaaa_record_by_its_family(type_, address) -> None:
    name = "kubernetes.default.svc.cluster.local."
    assert said(ask(records(API), name, type_)) == [f"{name} IN {type_} {address}"]


def test_2_3_2_each_named_port_is_an_srv_record_whose_target_comes_along() -> None:
    name = "kubernetes.default.svc.cluster.local."
    found = ask(records(API), f"_https._tcp.{name}", "SRV")
    assert said(found) == [f"_https._tcp.{name} IN SRV 0 100 443 {name}"]
    assert also(found) == [f"{name} IN A 10.3.0.1", f"{name} IN AAAA 2001:db8::1"]


@pytest.mark.parametrize("name", ["_https._udp", "_http._tcp", "https.tcp", "_._tcp"])
def test_2_3_2_other_ports_and_unnamed_ones_have_no_srv_record(name) -> None:
    world = records(cluster_ip("kubernetes", "10.3.0.1", ports=(HTTPS, ServicePort(port=80))))
    assert code(ask(world, f"{name}.kubernetes.default.svc.cluster.local.", "SRV")) == "NXDOMAIN"


def test_2_3_2_one_name_for_two_protocols_is_two_names_in_dns() -> None:
    dns = tuple(ServicePort("dns", protocol, port) for protocol, port in (("TCP", 53), ("UDP", 54)))
    world = records(cluster_ip("kube-dns", "10.3.0.10", ports=dns))
    name = "kube-dns.default.svc.cluster.local."
    for protocol, port in (("_tcp", 53), ("_udp", 54)):
        asked = f"_dns.{protocol}.{name}"
        assert said(ask(world, asked, "SRV")) == [f"{asked} IN SRV 0 100 {port} {name}"]


@pytest.mark.parametrize("name", ["1.0.3.10.in-addr.arpa.", REVERSE_1])
def test_2_3_3_a_cluster_ip_has_a_ptr_record(name) -> None:
    found = ask(records(API, *PETS), name, "PTR")
    assert said(found) == [f"{name} IN PTR kubernetes.default.svc.cluster.local."]


def test_2_4_1_there_must_be_an_a_record_for_each_ready_endpoint() -> None:
    name = "headless.default.svc.cluster.local."
    ready = ("10.3.0.100", "10.3.0.101", "10.3.0.102")
    assert said(ask(records(*PETS), name, "A")) == [f"{name} IN A {a}" for a in ready]
    ready = ("2001:db8::100", "2001:db8::102")
    assert said(ask(records(*PETS), name, "AAAA")) == [f"{name} IN AAAA {a}" for a in ready]


@pytest.mark.parametrize("sick", [(), (endpoint("10.3.0.103", "my-pet", ready=False),)])
@pytest.mark.parametrize("below", ["", "my-pet.", "10-3-0-103.", "_https._tcp.", "_tcp."])
def test_2_4_1_without_ready_endpoints_the_answer_should_be_nxdomain(sick, below) -> None:
    world = records(headless("headless", ports=(HTTPS,)), endpoints("headless", *sick))
    for type_ in ("A", "AAAA", "SRV"):
        found = ask(world, f"{below}headless.default.svc.cluster.local.", type_)
        assert code(found) == "NXDOMAIN"


def test_2_4_1_a_hostname_is_a_name_of_its_own() -> None:
    name = "my-pet.headless.default.svc.cluster.local."
    assert said(ask(records(*PETS), name, "A")) == [f"{name} IN A 10.3.0.100"]
    assert said(ask(records(*PETS), name, "AAAA")) == [f"{name} IN AAAA 2001:db8::100"]


def test_2_4_1_one_hostname_with_several_addresses_has_a_record_for_each() -> None:
    twins = endpoints("headless", endpoint("10.3.0.1", "twin"), endpoint("10.3.0.2", "twin"))
    name = "twin.headless.default.svc.cluster.local."
    found = ask(records(headless("headless"), twins), name, "A")
    assert said(found) == [f"{name} IN A 10.3.0.1", f"{name} IN A 10.3.0.2"]


@pytest.mark.parametrize(
    ("label", "type_", "address"),
    [("10-3-0-102", "A", "10.3.0.102"), ("2001-db8--102", "AAAA", "2001:db8::102")],
)
def test_2_1_an_endpoint_without_hostname_has_an_identifier(label, type_, address) -> None:
    name = f"{label}.headless.default.svc.cluster.local."
    assert said(ask(records(*PETS), name, type_)) == [f"{name} IN {type_} {address}"]


def test_2_1_the_hostname_comes_before_the_identifier() -> None:
    found = ask(records(*PETS), "10-3-0-100.headless.default.svc.cluster.local.", "A")
    assert code(found) == "NXDOMAIN"


def test_2_1_not_ready_addresses_may_be_published() -> None:
    sick = endpoints("headless", endpoint("10.3.0.103", "my-sick-pet", ready=False))
    world = records(headless("headless", publish_not_ready_addresses=True), sick)
    name = "my-sick-pet.headless.default.svc.cluster.local."
    assert said(ask(world, name, "A")) == [f"{name} IN A 10.3.0.103"]
    assert said(ask(world, "103.0.3.10.in-addr.arpa.", "PTR")) == [
        f"103.0.3.10.in-addr.arpa. IN PTR {name}"
    ]


def test_2_1_an_endpoint_of_unknown_readiness_is_ready() -> None:
    unknown = endpoints("headless", endpoint("10.3.0.104", ready=None))
    world = records(headless("headless"), unknown)
    assert code(ask(world, "headless.default.svc.cluster.local.", "A")) == "NOERROR"


def test_2_4_2_n_endpoints_with_m_named_ports_are_n_times_m_srv_records() -> None:
    name = "headless.default.svc.cluster.local."
    found = ask(records(*PETS), f"_https._tcp.{name}", "SRV")
    hosts = ("10-3-0-102", "2001-db8--102", "my-pet-2", "my-pet")
    assert said(found) == [f"_https._tcp.{name} IN SRV 0 100 443 {host}.{name}" for host in hosts]
    assert f"my-pet.{name} IN A 10.3.0.100" in also(found)
    assert f"my-pet.{name} IN AAAA 2001:db8::100" in also(found)


def test_2_4_2_the_number_is_the_endpoints_own_and_may_differ_between_them() -> None:
    world = records(
        headless("web", ports=(HTTPS,)),
        endpoints("web", endpoint("10.3.0.1", "a"), ports=(EndpointPort("https", "TCP", 8443),)),
        endpoints(
            "web", endpoint("10.3.0.2", "b"), ports=(EndpointPort("https", None, 9443),), name="2"
        ),
    )
    name = "web.default.svc.cluster.local."
    assert said(ask(world, f"_https._tcp.{name}", "SRV")) == [
        f"_https._tcp.{name} IN SRV 0 100 8443 a.{name}",
        f"_https._tcp.{name} IN SRV 0 100 9443 b.{name}",
    ]


@pytest.mark.parametrize("name", ["100.0.3.10.in-addr.arpa.", REVERSE_100])
def test_2_4_3_a_ready_endpoint_has_a_ptr_record(name) -> None:
    found = ask(records(*PETS), name, "PTR")
    assert said(found) == [f"{name} IN PTR my-pet.headless.default.svc.cluster.local."]


def test_2_4_3_an_endpoint_that_is_not_ready_has_none() -> None:
    assert code(ask(records(*PETS), "103.0.3.10.in-addr.arpa.", "PTR")) == "NXDOMAIN"


def test_2_4_3_an_endpoint_of_two_headless_services_has_two() -> None:
    both = [headless(name) for name in ("one", "two")]
    slices = [endpoints(name, endpoint("10.3.0.7", "host")) for name in ("one", "two")]
    found = ask(records(*both, *slices), "7.0.3.10.in-addr.arpa.", "PTR")
    assert said(found) == [
        f"7.0.3.10.in-addr.arpa. IN PTR host.{name}.default.svc.cluster.local."
        for name in ("one", "two")
    ]


def test_endpoints_of_a_service_with_cluster_ip_have_no_names() -> None:
    world = records(API, endpoints("kubernetes", endpoint("10.3.0.9", "host")))
    assert code(ask(world, "host.kubernetes.default.svc.cluster.local.", "A")) == "NXDOMAIN"
    assert code(ask(world, "9.0.3.10.in-addr.arpa.", "PTR")) == "NXDOMAIN"


@pytest.mark.parametrize("type_", ["A", "AAAA", "CNAME", "TXT"])
@pytest.mark.parametrize("target", ["www.example.com", "www.example.com."])
def test_2_5_an_external_name_is_a_cname_record(type_, target) -> None:
    world = records(service("foo", type="ExternalName", external_name=target))
    found = ask(world, "foo.default.svc.cluster.local.", type_)
    assert said(found) == ["foo.default.svc.cluster.local. IN CNAME www.example.com."]


def test_2_5_what_an_external_name_leads_to_comes_along() -> None:
    foo = service("foo", type="ExternalName", external_name="kubernetes.default.svc.cluster.local")
    found = ask(records(API, foo), "foo.default.svc.cluster.local.", "A")
    assert said(found) == [
        "foo.default.svc.cluster.local. IN CNAME kubernetes.default.svc.cluster.local.",
        "kubernetes.default.svc.cluster.local. IN A 10.3.0.1",
    ]


@pytest.mark.parametrize(
    "target", ["192.0.2.53", "2001:db8::53", "", "a..b", "x" * 64 + ".example"]
)
def test_external_names_that_are_no_names_are_not_resolved(target) -> None:
    world = records(service("foo", type="ExternalName", external_name=target))
    assert code(ask(world, "foo.default.svc.cluster.local.", "A")) == "NXDOMAIN"


@pytest.mark.parametrize(
    ("label", "type_", "address"),
    [("10-1-2-3", "A", "10.1.2.3"), ("2001-db8--7", "AAAA", "2001:db8::7")],
)
def test_2_6_a_pod_has_a_name_made_of_its_address(label, type_, address) -> None:
    name = f"{label}.default.pod.cluster.local."
    assert said(ask(records(), name, type_)) == [f"{name} IN {type_} {address}"]


@pytest.mark.parametrize(
    "name",
    ["10-1-2-3.nowhere.pod", "10-1-2-256.default.pod", "10-1-2.default.pod", "web.default.pod"],
)
def test_2_6_no_other_names_are_pods(name) -> None:
    assert code(ask(records(), f"{name}.cluster.local.", "A")) == "NXDOMAIN"

"""What DNS itself asks of a server: no such name or no such record, whose zone, how long."""

import pytest

from steppe.kube.wire import ObjectMeta
from steppe_lab.dns.objects import EndpointSlice, ServicePort
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

WEB = cluster_ip("web", "10.3.0.1", ports=(ServicePort("http", "TCP", 80),))
PETS = headless("pets")
PET = endpoints("pets", endpoint("10.3.0.100", "rex"))
SOA = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local."


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("web.default.svc", "AAAA"),  # the other family
        ("web.default.svc", "TXT"),
        ("web.default.svc", "SRV"),
        ("_http._tcp.web.default.svc", "A"),
        ("pets.default.svc", "AAAA"),
        ("rex.pets.default.svc", "AAAA"),
        ("10-1-2-3.default.pod", "AAAA"),
        ("dns-version", "A"),
        # RFC 8020: a name with names below it exists, though it has no records.
        ("_tcp.web.default.svc", "SRV"),
        ("default.svc", "A"),
        ("default.pod", "A"),
        ("svc", "A"),
        ("pod", "A"),
        ("dns", "A"),
    ],
)
def test_a_name_that_exists_without_such_records_is_no_error(name, type_) -> None:
    found = ask(records(WEB, PETS, PET), f"{name}.cluster.local.", type_)
    assert code(found) == "NODATA"
    assert found.authority[0].to_text().startswith(SOA)


@pytest.mark.parametrize(
    "name",
    [
        "nothing.default.svc",
        "web.other.svc",
        "other.svc",
        "other.pod",
        "rex.web.default.svc",
        "max.pets.default.svc",
        "_udp.web.default.svc",
        "x._http._tcp.web.default.svc",
        "x.dns-version",
        "default",
        "nothing",
        r"web\.default.svc",
        r"\195\164.default.svc",
    ],
)
def test_a_name_that_does_not_exist_is_nxdomain_for_every_type(name) -> None:
    for type_ in ("A", "AAAA", "SRV", "ANY"):
        found = ask(records(WEB, PETS, PET), f"{name}.cluster.local.", type_)
        assert code(found) == "NXDOMAIN"
        assert found.authority[0].to_text().startswith(SOA)


def test_no_such_name_is_believed_for_as_long_as_a_record() -> None:
    """RFC 2308: for the lesser of the SOA record's own TTL and its last field."""
    soa = ask(records(), "nothing.cluster.local.", "A").authority[0]
    assert (soa.ttl, soa[0].minimum) == (5, 5)
    assert ask(records(WEB), "web.default.svc.cluster.local.", "A").answer[0].ttl == 5


def test_the_zone_has_a_soa_record_and_a_name_server_with_addresses() -> None:
    assert ask(records(), "cluster.local.", "SOA").answer[0].to_text().startswith(SOA)
    found = ask(records(), "cluster.local.", "NS")
    assert said(found) == ["cluster.local. IN NS ns.dns.cluster.local."]
    addresses = [
        "ns.dns.cluster.local. IN A 192.0.2.11",
        "ns.dns.cluster.local. IN AAAA 2001:db8::11",
    ]
    assert also(found) == addresses
    assert said(ask(records(), "ns.dns.cluster.local.", "A")) == addresses[:1]


def test_the_serial_number_grows_with_every_change() -> None:
    world = records(WEB)
    before = ask(world, "cluster.local.", "SOA").answer[0][0].serial
    world.services.delete(WEB)
    assert ask(world, "cluster.local.", "SOA").answer[0][0].serial > before


@pytest.mark.parametrize("name", ["www.example.com.", ".", "local.", "mycluster.local."])
def test_names_of_others_are_refused(name) -> None:
    found = ask(records(), name, "A")
    assert code(found) == "REFUSED"
    assert not found.authoritative
    assert found.elsewhere is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2.0.3.10.in-addr.arpa.", "NXDOMAIN"),
        ("256.0.3.10.in-addr.arpa.", "NXDOMAIN"),
        ("x.3.10.in-addr.arpa.", "NXDOMAIN"),
        ("9.1.0.3.10.in-addr.arpa.", "NXDOMAIN"),
        ("3.10.in-addr.arpa.", "NODATA"),
        ("in-addr.arpa.", "NODATA"),
        ("8.b.d.0.1.0.0.2.ip6.arpa.", "NODATA"),
        ("10.ip6.arpa.", "NXDOMAIN"),
        (".".join("z" * 32) + ".ip6.arpa.", "NXDOMAIN"),
    ],
)
def test_reverse_names_that_lead_to_nothing(name, expected) -> None:
    assert code(ask(records(WEB), name, "PTR")) == expected


def test_any_is_everything_at_the_name() -> None:
    world = records(cluster_ip("web", "10.3.0.1", "2001:db8::1"))
    name = "web.default.svc.cluster.local."
    assert said(ask(world, name, "ANY")) == [f"{name} IN A 10.3.0.1", f"{name} IN AAAA 2001:db8::1"]


def test_an_alias_that_leads_nowhere_says_so() -> None:
    """RFC 6604: the response code is that of the last name."""
    lost = service("lost", type="ExternalName", external_name="gone.default.svc.cluster.local")
    found = ask(records(lost), "lost.default.svc.cluster.local.", "A")
    assert (code(found), len(said(found))) == ("NXDOMAIN", 1)


def test_an_alias_of_itself_ends() -> None:
    loop = service("loop", type="ExternalName", external_name="loop.default.svc.cluster.local")
    assert code(ask(records(loop), "loop.default.svc.cluster.local.", "A")) == "SERVFAIL"


def test_a_service_that_has_no_address_yet_has_no_name() -> None:
    assert code(ask(records(service("web")), "web.default.svc.cluster.local.", "A")) == "NXDOMAIN"


def test_answers_follow_the_objects() -> None:
    world = records(WEB)
    name = "web.default.svc.cluster.local."
    world.services.upsert(cluster_ip("web", "10.3.0.2"))
    assert said(ask(world, name, "A")) == [f"{name} IN A 10.3.0.2"]
    assert code(ask(world, "1.0.3.10.in-addr.arpa.", "PTR")) == "NXDOMAIN"
    world.services.replace(())
    assert code(ask(world, name, "A")) == "NXDOMAIN"


def test_nonsense_in_a_slice_spoils_nothing_else() -> None:
    meta = ObjectMeta(name="odd", namespace="default", labels=PET.metadata.labels)
    odd = EndpointSlice(
        meta, "IPv4", (endpoint("2001:db8::1"), endpoint("x"), endpoint("10.3.0.101", "a b!"))
    )
    name = "pets.default.svc.cluster.local."
    found = ask(records(PETS, PET, odd), name, "A")
    assert said(found) == [f"{name} IN A 10.3.0.100", f"{name} IN A 10.3.0.101"]
    assert said(ask(records(PETS, odd), "101.0.3.10.in-addr.arpa.", "PTR")) == [
        f"101.0.3.10.in-addr.arpa. IN PTR 10-3-0-101.{name}"
    ]

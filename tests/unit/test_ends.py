"""One grammar for the ends of flows: what is written means the same to explain and to reach."""

from ipaddress import ip_address, ip_network

import pytest

from steppe.ends.end import (
    AddressEnd,
    End,
    HostEnd,
    InternetEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    PodEnd,
    PrefixEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
    is_pattern,
)
from steppe.ends.parse import parse_end
from steppe.ends.target import resolve
from steppe.explain.flow import BadFlowError, flow_of
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.library import Network
from steppe.manifests.cluster import Loaded
from steppe.reach.ends import Ends
from steppe.reach.names import Names, member_name
from steppe.reach.reach import reach_of

NODE = Node(
    "node-a",
    prefixes=pod_cidrs("node-a", [ip_network("10.244.1.0/24")]),
    addresses=(ip_address("198.51.100.1"),),
)
BLOCK = ip_network("192.0.2.0/24")


def pod(name: str, last: int, namespace: str = "shop") -> Pod:
    labels = {"app": name.partition("-")[0]}
    address = ip_address(f"10.244.1.{last}")
    return Pod(namespace, name, "", NODE.name, (address,), labels=labels)


def service(name: str, last: int, namespace: str = "shop") -> Service:
    ports = (ServicePort("sql", "TCP", 5432), ServicePort("dns", "UDP", 53))
    return Service(namespace, name, "", (ip_address(f"10.96.0.{last}"),), ports)


def cluster() -> Cluster:
    ends = (Endpoint(ip_address("10.244.1.7"), NODE.name),)
    return cluster_of(
        [NODE],
        [pod("web-0", 5), pod("web-1", 6), pod("db-0", 7), pod("db-0", 8, "other")],
        services=[service("db", 9)],
        slices=[EndpointSlice("shop", "db-4", "db", (("sql", "TCP", 5432),), ends)],
    )


CLUSTER = cluster()
REACH = reach_of(CLUSTER)
WORKLOADS = {("shop", f"web-{n}"): "web" for n in (0, 1)} | {("shop", "db-0"): "db"}
ENDS = Ends(REACH, Names(REACH.groups, WORKLOADS))


@pytest.mark.parametrize(
    ("text", "end", "port", "protocol"),
    [
        ("web", NameEnd("", "web"), "", ""),
        (" shop/web ", NameEnd("shop", "web"), "", ""),
        ("shop/dns:53/udp", NameEnd("shop", "dns"), "53", "UDP"),
        ("*:8000-8080/tcp", NameEnd("", "*"), "8000-8080", "TCP"),
        ("shop/db:icmp", NameEnd("shop", "db"), "icmp", ""),
        ("po/shop/web-0", PodEnd("shop", "web-0"), "", ""),
        ("Deploy/shop/web:80", WorkloadEnd("Deploy", "shop", "web"), "80", ""),
        ("rs/shop/web-6d4f", WorkloadEnd("rs", "shop", "web-6d4f"), "", ""),
        ("ns/shop", NamespaceEnd("shop"), "", ""),
        ("namespace/shop:80", NamespaceEnd("shop"), "80", ""),
        ("svc/shop/db:sql", ServiceEnd("shop", "db"), "sql", ""),
        ("service/db", ServiceEnd("", "db"), "", ""),
        ("svc/shop/*", ServiceEnd("shop", "*"), "", ""),
        ("http://db.shop.svc/x", HostEnd("db.shop.svc"), "80", ""),
        ("https://10.96.0.9:8443", AddressEnd(ip_address("10.96.0.9")), "8443", ""),
        ("nodes/node-a:10250", NodeEnd("node-a"), "10250", ""),
        ("10.244.1.5:80", AddressEnd(ip_address("10.244.1.5")), "80", ""),
        ("fd00::5", AddressEnd(ip_address("fd00::5")), "", ""),
        ("[fd00::5]:53/udp", AddressEnd(ip_address("fd00::5")), "53", "UDP"),
        ("192.0.2.0/24:443", PrefixEnd(BLOCK, "192.0.2.0/24"), "443", ""),
        ("internet:443", InternetEnd(), "443", ""),
    ],
)
def test_a_text_is_one_end_and_a_port(text: str, end: End, port: str, protocol: str) -> None:
    written = parse_end(text)
    assert (written.end, written.port, written.protocol) == (end, port, protocol)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("shop/web-*", True), ("node/?", True), ("shop/web", False), ("[fd00::5]:80", False)],
)
def test_wildcards_make_a_pattern(text: str, is_one: bool) -> None:
    assert is_pattern(parse_end(text).end) == is_one


@pytest.mark.parametrize(
    ("text", "one", "all_"),
    [
        ("shop/web-0", "shop/web-0", ["shop/web-0"]),
        ("pod/shop/web-0", "shop/web-0", ["shop/web-0"]),
        ("web-1", "shop/web-1", ["shop/web-1"]),
        ("web", "shop/web-0", ["shop/web-0", "shop/web-1"]),
        ("shop/web", "shop/web-0", ["shop/web-0", "shop/web-1"]),
        ("deploy/shop/web", "shop/web-0", ["shop/web-0", "shop/web-1"]),
        ("rs/shop/web", "shop/web-0", ["shop/web-0", "shop/web-1"]),
        (f"node/{NODE.name}", f"node/{NODE.name}", [f"node/{NODE.name}"]),
        ("10.244.1.5", "shop/web-0", ["shop/web-0"]),
        ("10.244.1.5:80", "shop/web-0", ["shop/web-0"]),
        ("internet", "internet", ["internet"]),
    ],
)
def test_explain_takes_one_end_and_reach_all_that_are_meant(
    text: str, one: str, all_: list[str]
) -> None:
    assert str(resolve(CLUSTER, text).target) == one
    assert [member_name(member) for member in ENDS.chosen(text).members] == all_


@pytest.mark.parametrize(
    "text",
    [
        "svc/shop/db:5432",
        "svc/shop/db:sql",
        "svc/db:5432",
        "svc/db:5432/tcp",
        "db.shop:5432",
        "http://db.shop.svc:5432/",
        "10.96.0.9:5432",
    ],
)
def test_a_service_is_the_same_by_each_of_its_names(text: str) -> None:
    flow, _ = flow_of(CLUSTER, "shop/web-0", text)
    assert (str(flow.destination), flow.protocol, flow.port) == ("svc/shop/db", "TCP", 5432)
    assert [str(offer) for offer in ENDS.chosen(text).offers] == ["svc/shop/db:5432"]


@pytest.mark.parametrize("text", ["shop/*", "*", "namespace/shop", "svc/shop/*", "node/*"])
def test_what_may_be_several_is_for_reach_alone(text: str) -> None:
    with pytest.raises(UnknownEndError, match="may be several"):
        resolve(CLUSTER, text)
    chosen = ENDS.chosen(text)
    assert chosen.members or chosen.offers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty name"),
        ("shop/wbe", "there is no pod shop/wbe; did you mean shop/web"),
        ("pod/shop/nobody", "there is no pod shop/nobody"),
        ("node/nowhere", "there is no node nowhere"),
        ("svc/shop/bd", "there is no Service shop/bd; did you mean svc/shop/db"),
        ("deploy/shop/nothing", "no running pod is called after deploy/shop/nothing"),
        ("http://nothing.at.all/", "neither an address nor a Service's name"),
        ("http://db.shop:x/", "is no URL"),
        ("ingress/shop/web", "not understood yet"),
        ("gateway/web", "not understood yet"),
        ("a/b/c/d", "is not understood: write NAMESPACE/POD"),
        ("shop/web-0:80/tpc", "is no port such as"),
    ],
)
def test_what_means_nobody_is_said_in_the_same_words(text: str, said: str) -> None:
    with pytest.raises(UnknownEndError, match=said):
        resolve(CLUSTER, text)
    with pytest.raises(UnknownEndError, match=said):
        ENDS.chosen(text)


@pytest.mark.parametrize(
    ("text", "port", "protocol", "found"),
    [
        ("shop/db-0:53/udp", "", None, ("UDP", 53)),
        ("shop/db-0", "53/udp", None, ("UDP", 53)),
        ("shop/db-0:53", "53/udp", "UDP", ("UDP", 53)),
        ("shop/db-0:icmp", "", None, ("ICMP", 0)),
        ("svc/shop/db:dns", "", None, ("UDP", 53)),
    ],
)
def test_a_protocol_may_stand_behind_the_port(
    text: str, port: str, protocol: str | None, found: tuple[str, int]
) -> None:
    flow, _ = flow_of(CLUSTER, "shop/web-0", text, port, protocol)  # type: ignore[arg-type]
    assert (flow.protocol, flow.port) == found


def test_two_protocols_at_once_are_refused() -> None:
    with pytest.raises(BadFlowError, match="TCP and UDP at once"):
        flow_of(CLUSTER, "shop/web-0", "shop/db-0:53/udp", protocol="TCP")


def test_a_name_that_a_service_has_too_is_not_guessed() -> None:
    with pytest.raises(UnknownEndError, match="svc/shop/db"):
        resolve(CLUSTER, "db")


def test_the_library_does_not_take_a_service_for_pods() -> None:
    network = Network(Loaded(CLUSTER))
    with pytest.raises(UnknownEndError, match="is a Service"):
        network.ports("shop/web-0", "svc/shop/db")

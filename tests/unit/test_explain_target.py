"""What people write for SRC and DST, and whom it names."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from steppe.ends.target import (
    NodeTarget,
    PodTarget,
    RangeTarget,
    ServiceTarget,
    UnknownEndError,
    resolve,
)
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Pod
from steppe.kube.services import Service, ServicePort
from tests.worlds import node_at

NODE = node_at(0)


def pod(name: str, number: int, namespace: str = "shop", **more: object) -> Pod:
    addresses = tuple(prefix[number] for prefix in NODE.networks)
    return Pod(namespace, name, **({"node": NODE.name, "addresses": addresses} | more))


WEB = Service(
    "shop",
    "web",
    cluster_ips=(ip_address("10.96.0.9"), ip_address("fd00:96::9")),
    ports=(ServicePort("http", "TCP", 8080),),
)
CLUSTER = cluster_of(
    [NODE],
    [
        pod("web-1", 5),
        pod("web-2", 6),
        pod("twin", 7),
        pod("twin", 8, "other"),
        pod("proxy", 9, host_network=True, addresses=NODE.addresses),
        pod("migrate", 10, finished=True),
        pod("late", 11, addresses=()),
        pod("nowhere", 12, node="", addresses=()),
    ],
    services=[WEB],
)


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("shop/web-1", "shop/web-1", ""),
        ("pod/shop/web-1", "shop/web-1", ""),
        ("shop/web-1:8080", "shop/web-1", "8080"),
        ("web-1", "shop/web-1", ""),
        ("deploy/shop/web", "shop/web-1", ""),
        ("svc/shop/web", "svc/shop/web", ""),
        ("svc/shop/web:http", "svc/shop/web", "http"),
        ("web.shop", "svc/shop/web", ""),
        ("web.shop.svc.cluster.local:8080", "svc/shop/web", "8080"),
        ("http://web.shop.svc.cluster.local:8080/cart", "svc/shop/web", "8080"),
        ("https://web.shop", "svc/shop/web", "443"),
        ("http://[fd00:96::9]:8080/", "svc/shop/web", "8080"),
        ("node/node-a", "node/node-a", ""),
        ("192.0.2.11:22", "node/node-a", "22"),
        ("10.244.1.5", "shop/web-1", ""),
        ("[fd00:10:244:1::5]:80", "shop/web-1", "80"),
        ("fd00:10:244:1::5", "shop/web-1", ""),
        ("10.96.0.9", "svc/shop/web", ""),
        ("203.0.113.9", "203.0.113.9", ""),
        ("203.0.113.0/24", "203.0.113.0/24", ""),
        ("internet", "internet", ""),
        ("shop/proxy", "node/node-a", ""),
    ],
)
def test_a_name_is_understood(text: str, name: str, port: str) -> None:
    found = resolve(CLUSTER, text)
    assert (str(found.target), found.port) == (name, port)


def test_an_address_means_that_address_alone() -> None:
    both = resolve(CLUSTER, "shop/web-1").target
    one = resolve(CLUSTER, "10.244.1.5").target
    assert isinstance(both, PodTarget)
    assert isinstance(one, PodTarget)
    assert {address.version for address in both.addresses} == {4, 6}
    assert one.addresses == (ip_address("10.244.1.5"),)


def test_targets_are_typed() -> None:
    assert isinstance(resolve(CLUSTER, "node/node-a").target, NodeTarget)
    assert isinstance(resolve(CLUSTER, "web.shop").target, ServiceTarget)
    outside = resolve(CLUSTER, "203.0.113.0/24").target
    assert isinstance(outside, RangeTarget)
    assert outside.prefixes == (ip_network("203.0.113.0/24"),)
    assert outside.address is None


def test_what_was_understood_is_said_where_it_is_not_what_was_written() -> None:
    assert "first of its 2 pods" in resolve(CLUSTER, "deploy/shop/web").note
    assert "network of its node" in resolve(CLUSTER, "shop/proxy").note
    assert not resolve(CLUSTER, "shop/web-1").note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty name"),
        ("shop/wbe-1", "did you mean shop/web-1"),
        ("wbe-1", "did you mean shop/web-1"),
        ("web", "svc/shop/web"),
        ("twin", "say which of other/twin, shop/twin"),
        ("svc/shop/wep", "did you mean svc/shop/web"),
        ("node/node-b", "did you mean node/node-a"),
        ("deploy/shop/nothing", "no running pod"),
        ("shop/migrate", "has finished"),
        ("shop/late", "no address yet"),
        ("shop/nowhere", "not on a node"),
        ("http://nothing.here.at.all/", "neither an address nor a Service"),
        ("http://web.shop:x/", "is no URL"),
        ("a/b/c/d", "not understood"),
        ("fe80::1%eth0", "no pod"),
    ],
)
def test_what_names_nobody_is_said_with_what_was_probably_meant(text: str, said: str) -> None:
    with pytest.raises(UnknownEndError, match=said):
        resolve(CLUSTER, text)


def called(*names: str, **more: object) -> Cluster:
    return cluster_of([NODE], [pod(name, 20 + n, **more) for n, name in enumerate(names)])


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("web-1", "web-0"), "shop/web-0"),
        (("web-6d4f5b7c9-x2k4z", "web-6d4f5b7c9-b4d5f"), "shop/web-6d4f5b7c9-b4d5f"),
        (("web-x2k4z", "web-external-0"), "shop/web-x2k4z"),
    ],
)
def test_a_workloads_name_is_its_first_pod(names: tuple[str, ...], first: str) -> None:
    found = resolve(called(*names), "shop/web")
    assert str(found.target) == first
    assert found.note.startswith(f"shop/web is {first}")


def test_a_pod_of_that_name_is_no_workload() -> None:
    assert str(resolve(called("web", "web-0"), "shop/web").target) == "shop/web"


def test_pods_with_the_hash_of_their_template_are_one_workload() -> None:
    pods = [pod(f"web-{n}", 20 + n, labels={"pod-template-hash": f"h{n}"}) for n in (0, 1)]
    assert str(resolve(cluster_of([NODE], pods), "shop/web").target) == "shop/web-0"


@pytest.mark.parametrize(
    ("pods", "text", "said"),
    [
        ([pod("web-external-0", 20)], "shop/web", "there is no pod shop/web"),
        (
            [pod("web-0", 20, labels={"a": "1"}), pod("web-x2k4z", 21, labels={"a": "2"})],
            "shop/web",
            "several workloads.* shop/web-0, shop/web-x2k4z",
        ),
        ([], "ingress/shop/web", "not understood yet"),
        ([], "gateway/web", "not understood yet"),
        ([], "https://shop.example.com/cart", "Ingress and Gateway objects are not understood yet"),
    ],
)
def test_what_no_pod_can_be_told_from_is_a_sentence(pods: list[Pod], text: str, said: str) -> None:
    with pytest.raises(UnknownEndError, match=said):
        resolve(cluster_of([NODE], pods), text)


class _Counting(dict[tuple[str, str], Service]):
    """Services by name; counts how often all their names are gone through."""

    looks = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        self.looks += 1
        return super().__iter__()


def test_to_resolve_names_again_goes_through_no_names_again() -> None:
    services = _Counting({(WEB.namespace, WEB.name): WEB})
    cluster = msgspec.structs.replace(CLUSTER, services=services)
    for _ in range(3):
        resolve(cluster, "shop/web-1")
    assert services.looks == 1

"""Steppe's sessions with a router that is not ours: FRR."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from steppe.bgp.objects import Community, Peer
from steppe.kube.services import Service, ServicePort
from tests.bgp.frr import ASN, Router, needs_frr, neighbor, routing
from tests.bgp.network import Link, linked
from tests.bgp.test_speaker import Watch
from tests.bgp.worlds import needs_bird
from tests.waiting import patience, until

pytestmark = [pytest.mark.kernel, needs_bird, needs_frr]
ANYCAST = ip_address("203.0.113.9")
WEB = Service(
    "default",
    "web",
    cluster_ips=(ip_address("10.96.0.9"),),
    load_balancer_ips=(ANYCAST,),
    ports=(ServicePort("", "TCP", 80),),
)
TOR = Peer(
    "tor",
    address=ip_address("192.0.2.254"),
    asn=ASN,
    password_key="tor",
    bfd=True,
    communities=(Community((64512, 100)),),
)
NODES = "\n".join(
    f"{neighbor(f'192.0.2.{11 + index}', 'peer-group nodes', 'password s3cret', 'bfd')}"
    for index in range(3)
)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Link]:
    with linked(3, tmp_path) as link:
        for each in link.nodes:
            each.view.secrets = {"tor": "s3cret"}
            each.view.routers = (TOR,)
            each.view.more = {"services": ((WEB, frozenset((ANYCAST,))),)}
        yield link


@pytest.fixture
def router(three: Link) -> Iterator[Router]:
    with routing(three, NODES) as made:
        three.begin()
        until(lambda: len(made.hops(f"{ANYCAST}/32")) == 3, 40, "the router has three ways")
        yield made


ALL = {"192.0.2.11", "192.0.2.12", "192.0.2.13"}


def guarded(router: Router) -> set[str]:
    """The nodes with which BFD is up."""
    return {each["peer"] for each in router.show("bfd peers") if each["status"] == "up"}


def test_with_md5_and_bfd_the_router_has_pods_of_both_families_and_three_ways_to_a_service(
    three: Link, router: Router
) -> None:
    assert router.hops(f"{ANYCAST}/32") == ALL
    until(lambda: router.hops("10.244.2.0/24") == {"192.0.2.12"}, 20, "pods of node-b")
    until(lambda: router.hops("fd00:10:244:2::/64"), 20, "pods of node-b by IPv6")
    path = router.path("10.244.2.0/24")
    assert path["community"]["string"] == "64512:100"
    until(lambda: guarded(router) == ALL, 20, "BFD is up with all three")
    here = three.nodes[0]
    until(lambda: {"10.9.0.0/16"} <= here.routes().keys(), 20, "the router's own prefix")
    until(lambda: {"fd00:9::/48"} <= here.routes(6).keys(), 20, "and that of IPv6")
    assert "default" not in here.routes()
    (way,) = here.routes()["10.244.2.0/24"]
    assert way["gateway"] == "192.0.2.12", "a node on this subnet is never reached by the router"


def test_bird_that_is_killed_costs_the_router_no_route(three: Link, router: Router) -> None:
    until(lambda: router.hops("10.244.1.0/24"), 20, "pods of node-a")
    victim = three.nodes[0]
    watch = Watch(router.net.path, router.net.fd, "proto bgp")
    old = victim.bird.pid()
    assert old is not None
    os.kill(old, 9)
    until(lambda: victim.bird.pid() not in (None, old), 10, "BIRD runs again")
    until(lambda: "peer:tor" in victim.established(), 20, "the session is up again")
    assert [event for event in watch.events() if "10.244.1.0" in event] == []


def test_a_node_that_is_cut_off_is_out_of_the_router_s_ways_within_bfds_time(
    three: Link, router: Router
) -> None:
    until(lambda: guarded(router) == ALL, 20, "BFD is up with all three")
    began = monotonic()
    three.bridge.run("ip", "link", "set", "p0", "down")
    until(lambda: "192.0.2.11" not in router.hops(f"{ANYCAST}/32"), 2, "the node is out")
    assert monotonic() - began < patience(1.2)
    assert router.hops(f"{ANYCAST}/32") == ALL - {"192.0.2.11"}


def test_a_node_that_leaves_is_avoided_before_it_withdraws(three: Link, router: Router) -> None:
    leaver = three.nodes[0]
    more: dict[str, Any] = leaver.view.more | {"leaving": True}
    leaver.change(more=more)
    until(lambda: router.hops(f"{ANYCAST}/32") == ALL - {"192.0.2.11"}, 20, "it is avoided")
    assert "peer:tor" in leaver.established()


def test_a_wrong_password_is_named_as_the_cause(three: Link, router: Router) -> None:
    here = three.nodes[0]
    here.end()
    here.bird.kill()
    here.view.secrets = {"tor": "another"}
    here.begin()

    def said() -> str:
        return " ".join(here.speaker.missing.values())

    until(lambda: "passwords differ" in said(), 20, "the cause is named")
    assert (
        router.show("bgp summary")["ipv4Unicast"]["peers"]["192.0.2.11"]["state"] != "Established"
    )
    assert "another" not in said()


def test_an_unnumbered_session_carries_both_families(tmp_path: Path) -> None:
    with linked(1, tmp_path) as link:
        (here,) = link.nodes
        here.view.routers = (Peer("spine", interface="eth0", asn=ASN),)
        lines = (
            " neighbor eth0 interface peer-group nodes\n neighbor eth0 remote-as external\n"
            " neighbor eth0 timers connect 1\n neighbor eth0 capability extended-nexthop"
        )
        with routing(link, lines) as made:
            here.begin()
            until(lambda: made.hops("10.244.1.0/24"), 40, "pods by IPv4")
            until(lambda: made.hops("fd00:10:244:1::/64"), 20, "pods by IPv6")
            until(lambda: "10.9.0.0/16" in here.routes(), 20, "the router's prefix")
            until(lambda: not here.speaker.missing, 10, "no session is missing")


def test_what_a_rule_does_not_let_in_is_not_taken(three: Link) -> None:
    closed = msgspec.structs.replace(TOR, imports=())
    for each in three.nodes:
        each.view.routers = (closed,)
    with routing(three, NODES) as made:
        three.begin()
        until(lambda: len(made.hops(f"{ANYCAST}/32")) == 3, 40, "the router has three ways")
        assert "10.9.0.0/16" not in three.nodes[0].routes()

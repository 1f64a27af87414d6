"""Which sessions, announcements and filters a node has, and why."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from steppe.bgp.compile import SHUTDOWN, BgpWorld, compile_bgp, router_id
from steppe.bgp.objects import Announced, BgpSettings, peer_from
from steppe.bgp.tables import AnnouncementKey, BgpTables, FilterKey
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import host_prefix
from steppe.service.backends import Vantage, service_table
from tests.bgp.worlds import bgp_peer, bgp_settings, labelled, tables_of
from tests.worlds import node_at

NODES = [node_at(index) for index in range(4)]
REFLECTED = [labelled(node, rr="yes") if i < 2 else node for i, node in enumerate(NODES)]
BY_LABEL = bgp_settings(reflectors={"matchLabels": {"rr": "yes"}})
TOR: dict[str, Any] = {"address": "192.0.2.254", "asn": 65001}


def names(tables: BgpTables) -> list[str]:
    return sorted(entry.value.name for entry in tables.sessions.values())


def test_without_objects_each_node_has_a_session_with_each_other() -> None:
    tables, problems = tables_of(NODES)
    assert names(tables) == ["node:node-b", "node:node-c", "node:node-d"]
    assert problems == ()
    (entry,) = [e for e in tables.sessions.values() if e.value.name == "node:node-b"]
    assert [str(cause) for cause in entry.because] == ["Node/node-b status.addresses"]


@pytest.mark.parametrize(
    ("here", "expected", "clients"),
    [
        (0, ["node:node-b", "node:node-c", "node:node-d"], ["node:node-c", "node:node-d"]),
        (2, ["node:node-a", "node:node-b"], []),
    ],
)
def test_with_reflectors_a_node_has_sessions_with_these_alone(
    here: int, expected: list[str], clients: list[str]
) -> None:
    tables, problems = tables_of(REFLECTED, settings=BY_LABEL, here=here)
    assert names(tables) == expected
    assert problems == ()
    assert sorted(e.value.name for e in tables.sessions.values() if e.value.client) == clients


def test_what_a_reflector_sends_may_be_any_nodes_and_what_a_node_sends_its_own_alone() -> None:
    tables, _ = tables_of(REFLECTED, settings=BY_LABEL, here=2)
    rules = tables.filters[FilterKey("node:node-a", "import")].value.rules or ()
    assert len(rules) == 6
    meshed, _ = tables_of(NODES, here=2)
    rules = meshed.filters[FilterKey("node:node-a", "import")].value.rules or ()
    assert [str(rule.prefix) for rule in rules] == ["10.244.1.0/24", "fd00:10:244:1::/64"]


def test_one_reflector_is_told_of_and_none_leaves_the_mesh() -> None:
    one = [labelled(node, rr="yes") if i < 1 else node for i, node in enumerate(NODES)]
    _, problems = tables_of(one, settings=BY_LABEL, here=2)
    assert [problem.cause.field for problem in problems] == ["spec.reflectors"]
    tables, problems = tables_of(NODES, settings=BY_LABEL)
    assert len(tables.sessions) == 3
    assert [problem.cause.field for problem in problems] == ["spec.reflectors"]


def test_a_node_across_a_router_has_no_session_and_without_a_router_a_problem() -> None:
    nodes = [node_at(0), node_at(1, rack=1)]
    tables, problems = tables_of(nodes)
    assert names(tables) == []
    assert [str(problem.cause.ref) for problem in problems] == ["Node/node-b"]
    tables, problems = tables_of(nodes, [bgp_peer("tor", **TOR)])
    assert (names(tables), problems) == (["peer:tor"], ())


def test_a_router_is_for_the_nodes_that_its_selector_fits() -> None:
    spec = TOR | {"nodes": {"matchLabels": {"rack": "1"}}}
    nodes = [labelled(NODES[0], rack="1"), labelled(NODES[1], rack="2")]
    mesh_off = bgp_settings(mesh=False)
    assert names(tables_of(nodes, [bgp_peer("tor", **spec)], mesh_off)[0]) == ["peer:tor"]
    assert names(tables_of(nodes, [bgp_peer("tor", **spec)], mesh_off, here=1)[0]) == []


def test_of_two_peers_with_one_address_the_older_keeps_it_and_the_other_is_told() -> None:
    old, new = bgp_peer("old", **TOR), bgp_peer("new", **(TOR | {"asn": 65002}))
    old = msgspec.structs.replace(
        old, metadata=msgspec.structs.replace(old.metadata, creation_timestamp="2026-01-01")
    )
    new = msgspec.structs.replace(
        new, metadata=msgspec.structs.replace(new.metadata, creation_timestamp="2026-01-02")
    )
    for order in ([old, new], [new, old]):
        tables, problems = tables_of(NODES[:1], order)
        assert names(tables) == ["peer:old"]
        assert {key.session for key in tables.filters} == {"peer:old"}
        assert [str(problem.cause) for problem in problems] == ["BGPPeer/new spec.address"]


@pytest.mark.parametrize("text", [None, "", 'a"b', "a\nb", "x" * 81])
def test_without_a_usable_password_there_is_no_session_rather_than_an_open_one(
    text: str | None,
) -> None:
    given = {} if text is None else {"tor": text}
    peer = bgp_peer("tor", **TOR, passwordKey="tor")
    tables, problems = tables_of(NODES[:1], [peer], passwords=given)
    assert names(tables) == []
    assert [problem.cause.field for problem in problems] == ["spec.passwordKey"]
    assert not text or text not in problems[0].message
    meshed, problems = tables_of(NODES, settings=bgp_settings(passwordKey="tor"), passwords=given)
    assert names(meshed) == []
    assert [problem.cause.field for problem in problems] == ["spec.passwordKey"]


def test_nothing_of_ours_and_nothing_near_is_taken_from_a_router() -> None:
    tables, _ = tables_of([*NODES[:2], node_at(2, rack=1)], [bgp_peer("tor", **TOR)])
    refused = tables.filters[FilterKey("peer:tor", "import")].value.refused
    assert {str(each) for each in refused if each.version == 4} == {
        "10.244.1.0/24",
        "10.244.2.0/24",
    }


ADDRESSES = {"10.96.0.9": "ClusterIPs", "203.0.113.9": "ExternalIPs", "198.51.100.9": "LB"}


def announced(here: Node = NODES[0], **how: Any) -> dict[str, tuple[str, ...]]:
    return {
        str(key.prefix.network_address): tuple(map(str, entry.because))
        for key, entry in compiled(here, **how).announcements.items()
        if entry.value.source == "services"
    }


def compiled(
    here: Node,
    *,
    local: bool = False,
    on: str = "node-a",
    announce: frozenset[Announced] = BgpSettings().announce,
    leaving: bool = False,
) -> BgpTables:
    """The tables of a node with one Service that has one endpoint, on the node `on`."""
    service = Service(
        "default",
        "web",
        cluster_ips=(ip_address("10.96.0.9"),),
        external_ips=(ip_address("203.0.113.9"),),
        load_balancer_ips=(ip_address("198.51.100.9"),),
        ports=(ServicePort("", "TCP", 80),),
        external_local=local,
    )
    endpoint = Endpoint(ip_address("10.244.1.7"), on)
    slices = (EndpointSlice("default", "web-1", "web", (("", "TCP", 80),), (endpoint,)),)
    table = service_table(Vantage.of(here, ()), service, slices, lambda _: service.ref)
    delivered = frozenset(front.address for front, each in table.rows if each.outside)
    settings, services = BgpSettings(announce=announce), ((service, delivered),)
    return compile_bgp(BgpWorld(here, (here,), settings, services=services, leaving=leaving))[0]


def test_a_services_outer_addresses_are_announced_with_the_field_they_are_in() -> None:
    assert announced() == {
        "203.0.113.9": ("Service/default/web spec.externalIPs[0]",),
        "198.51.100.9": ("Service/default/web status.loadBalancer.ingress",),
    }
    everything: frozenset[Announced] = frozenset(("ClusterIPs", "ExternalIPs", "LoadBalancerIPs"))
    assert announced(announce=everything).keys() == ADDRESSES.keys()
    assert announced(announce=frozenset()) == {}


def test_a_local_service_is_announced_by_nodes_that_deliver_alone() -> None:
    assert len(announced(local=True)) == 2
    assert announced(local=True, on="node-b") == {}
    assert len(announced(local=False, on="node-b")) == 2


def test_a_node_that_load_balancers_leave_out_announces_none_of_their_addresses() -> None:
    label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
    assert announced(labelled(NODES[0], **label)).keys() == {"203.0.113.9"}


def test_a_node_that_leaves_asks_to_be_avoided_before_it_is_gone() -> None:
    assert announced(leaving=True).keys() == announced().keys()
    tables = compiled(NODES[0], leaving=True)
    key = AnnouncementKey(host_prefix(ip_address("198.51.100.9")))
    assert tables.announcements[key].value.communities == (SHUTDOWN,)
    pods = [e for e in tables.announcements.values() if e.value.source == "pods"]
    assert [entry.value.communities for entry in pods] == [(), ()]


def test_a_node_without_ipv4_has_a_router_id_that_stays() -> None:
    six = node_at(0, families=(6,))
    assert router_id(six) == router_id(node_at(0, families=(6,)))
    assert router_id(six) != router_id(node_at(1, families=(6,)))
    assert router_id(NODES[0]) == "192.0.2.11"


def test_a_peer_is_checked_once_and_equal_objects_give_equal_tables() -> None:
    peer, _ = peer_from(bgp_peer("tor", **TOR))
    world = BgpWorld(NODES[0], tuple(NODES), routers=(peer,))
    again = msgspec.structs.replace(world, nodes=tuple(reversed(NODES)))
    assert compile_bgp(world) == compile_bgp(again)

"""What the judge answers where something is not known: "unknown", and only where it may decide."""

from ipaddress import ip_address, ip_network

import msgspec
import pytest

from steppe.judge.judge import judge_of
from steppe.judge.verdict import all_of, both
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.doubt import AddressInDoubt, Doubt, EndpointsInDoubt, PoliciesInDoubt
from steppe.kube.policies import AnyTraffic, Block, Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import EVERYTHING
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.packet import Packet
from steppe.reach.reach import reach_of
from steppe.reach.services import Offers
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1)]
CLIENT = pod_on(NODES[0], 0, "client")
SERVER = pod_on(NODES[1], 1, "server")
CLUSTER_IP = ip_address("10.96.0.10")
SERVICE = Service(
    "default", "web", cluster_ips=(CLUSTER_IP,), ports=(ServicePort("http", "TCP", 80),)
)
SLICE = EndpointSlice(
    "default",
    "web-1",
    "web",
    (("http", "TCP", 8080),),
    (Endpoint(SERVER.addresses[0], SERVER.node),),
)
POLICY = ObjectRef("NetworkPolicy", "default", "typo")
UNREAD = Doubt(Cause(POLICY), "cannot be read", PoliciesInDoubt(Pods(within="default")))
INGRESS_UNREAD = Doubt(
    Cause(POLICY), "cannot be read", PoliciesInDoubt(Pods(within="default"), ("ingress",))
)
ADMIN_UNREAD = Doubt(
    Cause(ObjectRef("ClusterNetworkPolicy", "", "odd")), "cannot be read", PoliciesInDoubt(Pods())
)
MADE = Doubt(
    Cause(ObjectRef("Rollout", "default", "web")),
    "may make pods",
    EndpointsInDoubt("default", "web"),
)
INVENTED = Doubt(
    Cause(CLIENT.ref, "status.podIPs"), "is invented", AddressInDoubt("default", "client")
)


def lets_in(*peers: Block) -> NetworkPolicy:
    """A policy that isolates everybody for ingress, and lets these blocks in."""
    rules = (Rule("spec.ingress[0]", peers, (AnyTraffic(),)),) if peers else ()
    return NetworkPolicy("default", "guard", EVERYTHING, frozenset({"ingress"}), rules)


CLOSED_OUT = NetworkPolicy("default", "out", EVERYTHING, frozenset({"egress"}))
PODS = Block(ip_network("10.42.0.0/16"))
PARTNERS = Block(ip_network("203.0.113.0/24"))
ANY = Block(ip_network("0.0.0.0/0"))
BUT_PRIVATE = Block(ip_network("0.0.0.0/0"), (ip_network("10.0.0.0/8"),))


def world(*policies: NetworkPolicy, doubts: tuple[Doubt, ...] = (), slices=(SLICE,)) -> Cluster:
    return cluster_of(
        NODES,
        [CLIENT, SERVER],
        [Namespace("default")],
        policies,
        services=[SERVICE],
        slices=slices,
        doubts=doubts,
    )


def to_server(cluster: Cluster):
    packet = Packet(CLIENT.addresses[0], SERVER.addresses[0], "TCP", 40000, 8080)
    return judge_of(cluster).verdict(packet)


@pytest.mark.parametrize(
    ("policies", "doubts", "said"),
    [
        ((), (), "yes"),
        ((), (UNREAD,), "unknown"),
        ((), (INGRESS_UNREAD,), "unknown"),
        ((CLOSED_OUT,), (INGRESS_UNREAD,), "no"),
        ((lets_in(),), (INGRESS_UNREAD,), "unknown"),
        ((lets_in(ANY),), (INGRESS_UNREAD,), "yes"),
        ((lets_in(ANY),), (ADMIN_UNREAD,), "unknown"),
        ((lets_in(PODS),), (), "no"),
        ((lets_in(PODS),), (INVENTED,), "unknown"),
        ((lets_in(PARTNERS),), (INVENTED,), "no"),
        ((lets_in(BUT_PRIVATE),), (INVENTED,), "unknown"),
        ((lets_in(ANY),), (INVENTED,), "yes"),
        ((), (INVENTED,), "yes"),
        ((), (MADE,), "yes"),
    ],
)
def test_a_doubt_turns_only_what_hangs_on_it(policies, doubts, said) -> None:
    found = to_server(world(*policies, doubts=doubts))
    assert found.said == said
    assert (found.doubts == doubts) == (said == "unknown") or not doubts


@pytest.mark.parametrize(
    ("slices", "doubts", "said"),
    [
        ((SLICE,), (), "yes"),
        ((), (), "no"),
        ((), (MADE,), "unknown"),
        ((SLICE,), (MADE,), "unknown"),
        ((SLICE,), (UNREAD,), "unknown"),
    ],
)
def test_endpoints_that_are_not_known_make_a_service_unknown(slices, doubts, said) -> None:
    cluster = world(doubts=doubts, slices=slices)
    packet = Packet(CLIENT.addresses[0], CLUSTER_IP, "TCP", 40000, 80)
    assert judge_of(cluster).verdict(packet).said == said
    (offer,) = Offers(reach_of(cluster)).all
    words = {"yes": "allowed", "unknown": "unknown", "no": "refused"}
    rows = list(Offers(reach_of(cluster)).rows(offer))
    assert {row.outcome.said for row in rows if not row.only} == {words[said]}


def test_its_own_node_reaches_a_pod_whatever_is_not_known() -> None:
    node = NODES[1].address(4)
    packet = Packet(node, SERVER.addresses[0], "TCP", 40000, 8080)
    assert judge_of(world(doubts=(UNREAD, ADMIN_UNREAD))).verdict(packet).said == "yes"


def test_rows_tell_what_is_not_known_apart_from_what_is_allowed() -> None:
    reach = reach_of(world(lets_in(PODS), doubts=(INVENTED,)))
    client, server = reach.group_at(CLIENT.addresses[0]), reach.group_at(SERVER.addresses[0])
    (row,) = reach.rows(server, 1 << client)
    assert not row.ports
    assert row.unknown.holds("TCP", 8080)
    (row,) = reach_of(world(lets_in(PODS))).rows(server, 1 << client)
    assert not row.unknown


def test_a_forged_source_is_dropped() -> None:
    packet = Packet(SERVER.addresses[0], NODES[1].address(4), "TCP", 40000, 80)
    said = judge_of(world()).verdict(packet, sender=CLIENT.addresses[0])
    assert (said.said, said.stop) == ("no", "dropped")


def test_one_no_is_enough_and_unknown_is_no_yes() -> None:
    assert [both(*pair) for pair in (("yes", "no"), ("unknown", "no"))] == ["no", "no"]
    assert both("unknown", "yes") == "unknown"
    assert [all_of(each) for each in ((), ("yes", "no"), ("yes", "unknown"))] == [
        "no",
        "partly",
        "unknown",
    ]


def test_doubts_are_part_of_the_cluster_value() -> None:
    assert world().doubts == ()
    assert msgspec.structs.replace(world(), doubts=(MADE,)).doubts == (MADE,)

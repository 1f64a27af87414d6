"""The way back: replies take the routes home and are translated where the request was."""

from ipaddress import ip_address

import msgspec

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import cluster_of
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.walk.trace import Trace
from steppe.walk.walk import Walker
from tests.worlds import OUTSIDE, node_at, pod_on

NODES = [node_at(0), node_at(1), node_at(2)]
CLIENT, SERVER = pod_on(NODES[0], 1), pod_on(NODES[1], 1)
VIP = ip_address("10.96.0.10")
CLUSTER = cluster_of(
    NODES,
    [CLIENT, SERVER],
    services=[
        Service(
            "default", "web", cluster_ips=(VIP,), ports=(ServicePort("http", "TCP", 80, 30080),)
        )
    ],
    slices=[
        EndpointSlice(
            "default",
            "web-1",
            "web",
            (("http", "TCP", 8080),),
            (Endpoint(SERVER.addresses[0], NODES[1].name),),
        )
    ],
)
STATES, _ = compile_cluster(Settings(fabric="vxlan"), CLUSTER)
WALKER = Walker(CLUSTER, STATES)


def back(packet: Packet) -> Trace:
    return WALKER.reply(WALKER.walk(packet))


def test_a_reply_comes_from_the_address_that_was_dialled() -> None:
    request = Packet(CLIENT.addresses[0], VIP, "TCP", 40000, 80)
    reply = back(request)
    assert reply.packet == request.answer
    assert (reply.end.kind, reply.end.target) == ("pod", "default/node-a-pod-1")
    undone = [step for step in reply.steps if step.stage == "conntrack"]
    assert [step.node for step in undone] == ["node-a"]
    assert "endpoints[0]" in str(undone[0].because[0])


def test_a_reply_to_a_masqueraded_sender_goes_by_the_node_that_masqueraded() -> None:
    request = Packet(OUTSIDE[0], NODES[2].addresses[0], "TCP", 40000, 30080)
    forth = WALKER.walk(request)
    assert [each.node for each in forth.translated] == ["node-c", "node-c"]
    assert forth.packet.source == NODES[2].addresses[0]
    reply = back(request)
    assert reply.packet == request.answer
    assert reply.end.kind == "outside"
    assert [step.node for step in reply.steps if step.stage == "conntrack"] == ["node-c"]


def test_a_reply_from_outside_finds_the_pod_behind_its_node() -> None:
    request = Packet(CLIENT.addresses[1], OUTSIDE[1], "UDP", 40000, 53)
    reply = back(request)
    assert reply.packet == request.answer
    assert reply.end.target == "default/node-a-pod-1"


def test_a_reply_is_not_judged_by_policy_and_asks_no_service() -> None:
    direct = Packet(CLIENT.addresses[0], SERVER.addresses[0], "TCP", 40000, 8080)
    reply = back(direct)
    assert {step.stage for step in reply.steps} <= {"route", "tunnel", "deliver"}
    assert reply.packet == direct.answer


def test_without_the_entry_of_the_translation_the_reply_has_a_strange_sender() -> None:
    forth = WALKER.walk(Packet(CLIENT.addresses[0], VIP, "TCP", 40000, 80))
    forgotten = msgspec.structs.replace(forth, translated=())
    assert WALKER.reply(forgotten).packet.source == SERVER.addresses[0]

"""Reach is the spec, pair by pair: over small clusters, exhaustively."""

from ipaddress import ip_address

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.judge.judge import End
from steppe.judge.pieces import piece_at
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, of_version
from steppe.net.packet import Packet
from steppe.net.ports import one_port, parse_ports
from steppe.oracle.network import promise
from steppe.oracle.policy import Verdict, verdict
from steppe.oracle.policy_match import World
from steppe.oracle.service import World as ServiceWorld
from steppe.oracle.service import answer
from steppe.reach.reach import Reach, reach_of
from steppe.reach.services import Offer, Offers, Outcome
from tests.policy_worlds import OUTSIDE, PROBED, worlds
from tests.property.test_policies import with_prefixes

FEW = settings(max_examples=40, deadline=None)
# Inside and beside the blocks that policies name.
STRANGERS = (*OUTSIDE, *map(ip_address, ("10.244.1.200", "10.244.9.9", "fd00:244:1::200")))


def cluster_in(world: World) -> Cluster:
    return cluster_of(
        map(with_prefixes, world.nodes.values()),
        {pod.ref: pod for pod in world.pods.values()}.values(),
        world.namespaces.values(),
        world.network_policies,
        cluster_policies=world.cluster_policies,
    )


def ends(cluster: Cluster) -> list[End]:
    return [*cluster.pods.values(), *cluster.nodes.values(), *STRANGERS]


def address_of(end: End, version: int) -> IPAddress | None:
    if isinstance(end, Pod | Node):
        return of_version(end.addresses, version)
    return end if end.version == version else None


def packets(here: End, there: End):
    for version in (4, 6):
        source, destination = address_of(here, version), address_of(there, version)
        if source is not None and destination is not None:
            for protocol, port in PROBED:
                yield version, Packet(source, destination, protocol, 40000, port)


def because(said: Verdict):
    """The causes on the side that decides: on both for a yes, on those that refuse for a no."""
    sides = (said.egress, said.ingress)
    return tuple(c for side in sides if side.allowed == said.allowed for c in side.because)


@FEW
@given(worlds(), st.booleans())
def test_reach_between_two_ends_is_the_verdict_with_its_causes(world, via_service) -> None:
    cluster = cluster_in(world)
    reach = reach_of(cluster)
    for here in ends(cluster):
        for there in ends(cluster):
            for version, packet in packets(here, there):
                pieces = reach.between(here, there, version, via_service=via_service)
                piece = piece_at(pieces, packet.protocol, packet.destination_port)
                said = verdict(world, packet, via_service=via_service)
                assert piece is not None
                assert piece.allowed == said.allowed, (packet, piece, said)
                assert piece.because == because(said)


@FEW
@given(worlds())
def test_rows_of_classes_are_the_verdict_of_every_member(world) -> None:
    cluster = cluster_in(world)
    reach = reach_of(cluster)
    for there in ends(cluster):
        receiver = group(reach, there)
        if receiver is None:
            continue
        rows = list(reach.matrix.rows(receiver, reach.everyone))
        for here in ends(cluster):
            sender = group(reach, here)
            if special(here, there) or sender is None:
                continue
            (row,) = [row for row in rows if row.senders >> sender & 1]
            for version, packet in packets(here, there):
                ports = row.version(version)
                port = (packet.protocol, packet.destination_port)
                assert ports.holds(*port) == verdict(world, packet).allowed
                senders = reach.matrix.senders_to(receiver, version, *port)
                assert senders >> sender & 1 == ports.holds(*port)


def group(reach: Reach, end: End) -> int | None:
    """None for an address of the cluster's own that no pod has."""
    return reach.group_at(address_of(end, 4) or address_of(end, 6))


def special(here: End, there: End) -> bool:
    """What rows leave to `between`: a pod and itself, a node and its pods."""
    own_node = isinstance(here, Node) and isinstance(there, Pod) and there.node == here.name
    return here == there or own_node


@FEW
@given(worlds(), st.sampled_from(["80", "53/udp", "icmp", "79-81/tcp"]))
def test_asking_for_some_ports_only_cuts_the_answer_down_to_them(world, text) -> None:
    cluster = cluster_in(world)
    whole, some = reach_of(cluster), reach_of(cluster, parse_ports(text))
    for receiver in range(len(whole.groups)):
        for sender in range(len(whole.groups)):
            for row in whole.rows(receiver, 1 << sender):
                (cut,) = some.rows(receiver, 1 << sender)
                for version in (4, 6):
                    if row.version(version) is not None:
                        assert cut.version(version) == row.version(version) & some.wanted


@FEW
@given(worlds())
def test_everybody_is_in_one_group(world) -> None:
    cluster = cluster_in(world)
    reach = reach_of(cluster)
    members = [member for p in reach.groups for member in p.members]
    assert len(set(map(str, members))) == len(members)
    named = {m.ref for m in members if isinstance(m, Pod | Node)}
    assert named == {end.ref for end in ends(cluster) if isinstance(end, Pod | Node)}


@FEW
@given(worlds())
def test_finished_pods_and_those_without_an_address_are_in_no_group(world) -> None:
    cluster = cluster_in(world)
    pods = list(cluster.pods.values())
    pods[0] = msgspec.structs.replace(pods[0], finished=True)
    pods[1] = msgspec.structs.replace(pods[1], addresses=())
    reach = reach_of(cluster_of(cluster.nodes.values(), pods))
    assert {pod.ref for p in reach.groups for pod in p.pods} == {pod.ref for pod in pods[2:]}


def test_a_port_of_a_protocol_without_ports_is_other() -> None:
    assert one_port("ICMP", 8) == parse_ports("icmp")


def services_in(cluster: Cluster, data) -> Cluster:
    """The cluster with Services whose endpoints are its pods, a node and somebody outside."""
    addresses = [a for pod in cluster.pods.values() for a in pod.addresses]
    addresses += [ip_address("192.0.2.12"), *STRANGERS]
    endpoints = st.builds(
        Endpoint,
        address=st.sampled_from(addresses),
        node=st.sampled_from(["n1", "n2", ""]),
        ready=st.sampled_from([True, True, False]),
        nodes=st.sampled_from([(), ("n1",), ("n2",)]),
    )
    ports = (("web", "TCP", 80), ("alt", "TCP", 81), ("dns", "UDP", 53))
    slices = [
        EndpointSlice("x", f"s{n}-{i}", f"s{n}", ports, tuple(data.draw(st.lists(endpoints))))
        for n in range(2)
        for i in range(2)
    ]
    services = [
        Service(
            "x",
            f"s{number}",
            cluster_ips=(ip_address(f"10.96.0.{number}"), ip_address(f"fd00:96::{number}")),
            ports=(ServicePort("web", "TCP", 8080), ServicePort("dns", "UDP", 53)),
            internal_local=data.draw(st.booleans()),
            distribution=data.draw(st.sampled_from(["", "PreferSameNode"])),
        )
        for number in range(2)
    ]
    return msgspec.structs.replace(
        cluster,
        services={("x", service.name): service for service in services},
        slices={("x", slice_.name): slice_ for slice_ in slices},
    )


def expected(world: World, cluster: Cluster, sender: Pod | Node, offer: Offer) -> Outcome | None:
    """What the two specs say together; None for a sender without an address of the family."""
    source = address_of(sender, offer.address.version)
    if source is None:
        return None
    name = sender.node if isinstance(sender, Pod) else sender.name
    around = ServiceWorld(
        cluster.nodes[name], tuple(cluster.services.values()), tuple(cluster.slices.values())
    )
    port = offer.port
    said = answer(around, Packet(source, offer.address, port.protocol, 40000, port.port))
    if said.action != "dnat":
        return Outcome({"reject": "refused", "drop": "dropped"}[said.action])
    packets = (Packet(source, to, port.protocol, 40000, number) for to, number in said.backends)
    found = [
        verdict(world, packet, via_service=True).allowed
        and promise(cluster, packet).kind != "dropped"
        for packet in packets
    ]
    word = "allowed" if all(found) else "partly" if any(found) else "denied"
    return Outcome(word, sum(found), len(found))


@FEW
@given(worlds(), st.data())
def test_a_service_is_as_open_as_the_specs_say_its_endpoints_are(world, data) -> None:
    cluster = services_in(cluster_in(world), data)
    reach = reach_of(cluster)
    offers = Offers(reach)
    assert len(offers.all) == 8
    for offer in offers.all:
        rows = list(offers.rows(offer))
        for sender in (*cluster.pods.values(), *cluster.nodes.values()):
            said = expected(world, cluster, sender, offer)
            assert offers.outcome(sender, offer) == said
            (row,) = [row for row in rows if sender in offers.members(row)]
            assert row.outcome == said

"""Which packets verify sends, how they are known again, and what counts as a mismatch.

That real packets of a real lab are seen right, and faults with them, is told by test_faults.py.
"""

import struct
from itertools import product

import msgspec
import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import NamedPort, Node, Pod
from steppe.kube.policies import Namespace
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import parse_address, parse_prefix
from steppe.net.packet import NUMBERS, Packet
from steppe.verify.judge import Arrived, Prediction, Predictor, Seen, mismatch, said_of, said_seen
from steppe.verify.plan import Check, Scope, checks, wanted_ports
from steppe.verify.sizes import sized, wrong_size
from steppe_lab.probe import wire
from steppe_lab.probe.wire import Heard

ENDS = {
    4: (parse_address("10.244.0.1"), parse_address("10.244.1.2")),
    6: (parse_address("fd00::1"), parse_address("fd00:1::2")),
}
NUMBER = 0x89ABCDEF
PACKETS = [
    Packet(*ENDS[version], protocol, *((40000, 53) if protocol != "ICMP" else ()))
    for protocol, version in product(NUMBERS, ENDS)
]


@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_a_probe_is_known_by_its_number_with_the_ports_it_has(packet: Packet) -> None:
    heard = wire.heard(packet.protocol, packet.source.version, wire.ask(packet, NUMBER))
    ports = packet.source_port, packet.destination_port
    assert heard == Heard("asked", NUMBER, *ports)


@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_an_icmp_error_about_a_probe_refuses_it(packet: Packet) -> None:
    version = packet.source.version
    inner = wire.ask(packet, NUMBER)
    number = NUMBERS[packet.protocol][version]
    ip4 = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, number, 0, b"", b"")
    ip6 = struct.pack("!IHBB32s", 6 << 28, 0, number, 64, b"")
    kind, code = {4: (3, 3), 6: (1, 4)}[version]
    error = struct.pack("!BBHI", kind, code, 0, 0) + (ip4 if version == 4 else ip6) + inner
    assert wire.heard("ICMP", version, error) == Heard("refused", NUMBER)
    unreachable = error[:1] + bytes((0 if version == 6 else 1,)) + error[2:]
    assert wire.heard("ICMP", version, unreachable) is None


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
@pytest.mark.parametrize("version", ENDS)
def test_our_answer_goes_back_under_the_same_number(protocol, version) -> None:
    came = Packet(*ENDS[version], protocol, 40000, 53)
    data = wire.answer(came.answer, NUMBER)
    assert data is not None
    assert wire.heard(protocol, version, data) == Heard("answered", NUMBER, 53, 40000)


@pytest.mark.parametrize("protocol", NUMBERS)
@pytest.mark.parametrize("data", [b"", b"x", b"GET / HTTP/1.1\r\n\r\n" * 9])
def test_others_packets_are_nobodys_probe(protocol, data) -> None:
    heard = wire.heard(protocol, 4, data)
    assert heard is None or heard.number != NUMBER


@pytest.mark.parametrize("size", [1500, 1501])
@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_a_larger_probe_has_the_size_and_is_known_too(packet: Packet, size: int) -> None:
    version = packet.source.version
    data = wire.ask(packet, NUMBER, size)
    heard = wire.heard(packet.protocol, version, data)
    assert heard is not None
    assert heard.number == NUMBER
    if packet.protocol != "SCTP":
        assert len(data) + wire.IP_HEADER[version] == size


@pytest.mark.parametrize("packet", PACKETS, ids=str)
def test_an_icmp_error_says_how_large_a_probe_may_be(packet: Packet) -> None:
    version = packet.source.version
    inner = wire.ask(packet, NUMBER, 1500)[:520]
    number = NUMBERS[packet.protocol][version]
    ip4 = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, number, 0, b"", b"")
    ip6 = struct.pack("!IHBB32s", 6 << 28, 0, number, 64, b"")
    kind, code = {4: (3, 4), 6: (2, 0)}[version]
    error = struct.pack("!BBHI", kind, code, 0, 1450) + (ip4 if version == 4 else ip6) + inner
    assert wire.heard("ICMP", version, error) == Heard("too big", NUMBER, mtu=1450)


def test_checksums_are_right() -> None:
    """As a receiver checks them: the sum over everything, checksum included, is zero."""
    for packet in PACKETS:
        if packet.protocol in ("TCP", "UDP"):
            data = wire.ask(packet, NUMBER)
            number = NUMBERS[packet.protocol][packet.source.version]
            ends = packet.source.packed + packet.destination.packed
            assert wire.checksum(ends + struct.pack("!II", len(data), number) + data) == 0


def pod(name: str, node: int, host: int, **labels: str) -> Pod:
    addresses = tuple(parse_address(f"{p}{host}") for p in (f"10.244.{node}.", f"fd00:{node}::"))
    ports = (NamedPort("http", "TCP", 8080),)
    return Pod("shop", name, name, f"node-{node}", addresses, labels=labels, ports=ports)


def node(number: int) -> Node:
    prefixes = f"10.244.{number}.0/24", f"fd00:{number}::/64"
    addresses = f"192.0.2.{number}", f"2001:db8::{number}"
    return Node(
        f"node-{number}",
        "",
        pod_cidrs(f"node-{number}", map(parse_prefix, prefixes)),
        tuple(map(parse_address, addresses)),
    )


PODS = [pod(f"web-{n}-{h}", n, h, app="web") for n in (1, 2) for h in (1, 2, 3)]
CLUSTER_IP = parse_address("10.96.0.10")
SERVICE = Service(
    "shop", "web", cluster_ips=(CLUSTER_IP,), ports=(ServicePort("http", "TCP", 80, 30080),)
)
CLUSTER = cluster_of((node(1), node(2)), PODS, (Namespace("shop"),), services=(SERVICE,))
OUTSIDE = parse_address("198.51.100.10")
SCOPE = Scope(frozenset(CLUSTER.pods), frozenset(CLUSTER.nodes), (OUTSIDE,))


def planned(*ports: int, every: bool = False, cluster: Cluster = CLUSTER) -> list[Check]:
    return list(checks(cluster, SCOPE, wanted_ports(ports, ()), every=every))


def test_every_pair_of_pods_in_both_families() -> None:
    names = [f"shop/{pod.name}" for pod in PODS]
    found = [c for c in planned(8080, every=True) if c.target in names and c.source in names]
    pairs = {(s, t, v) for s in names for t in names if s != t for v in (4, 6)}
    assert {(c.source, c.target, c.packet.source.version) for c in found} == pairs
    assert len(found) == len(pairs)


def test_the_sample_crosses_every_pair_of_nodes_with_every_protocol() -> None:
    at = {f"shop/{pod.name}": pod.node for pod in PODS}
    found = {
        (at[c.source], at[c.target], c.packet.protocol, c.packet.source.version)
        for c in planned()
        if c.source in at and c.target in at
    }
    nodes = ("node-1", "node-2")
    assert found == set(product(nodes, nodes, NUMBERS, (4, 6)))
    assert len(planned()) < len(planned(every=True))


def test_the_port_is_one_that_the_pod_has_if_it_may_be_any() -> None:
    (port,) = {
        c.packet.destination_port
        for c in planned()
        if c.packet.protocol == "TCP" and c.target.startswith("shop/")
    }
    assert port == 8080


def test_services_node_ports_nodes_and_outside_are_met() -> None:
    found = {(c.target, c.packet.destination_port) for c in planned()}
    assert ("svc/shop/web", 80) in found
    assert ("192.0.2.2", 30080) in found
    assert ("node/node-2", 80) in found
    assert (str(OUTSIDE), 80) in found
    assert {c.source for c in planned() if c.target == "192.0.2.2"} > {str(OUTSIDE)}


def test_only_who_is_in_scope_takes_part() -> None:
    scope = Scope(frozenset({("shop", "web-1-1")}), frozenset())
    names = {name for c in checks(CLUSTER, scope, every=True) for name in (c.source, c.target)}
    assert names == {"shop/web-1-1", "svc/shop/web"}


A, B = ENDS[4]
OPEN = Prediction("delivered", "shop/db", B, 53, A)
DENIED = Prediction("denied", "shop/db", B, 53)
REFUSED = Prediction("refused", "", B, 53)
BEYOND = Prediction("delivered", "", B, 53)
THERE = Arrived("shop/db", 53, str(A))

VERDICTS = [
    ((OPEN,), Seen((THERE,), answered=True), True),
    # A kernel that refuses what has arrived answers: nobody listens there.
    ((OPEN,), Seen((THERE,), refused=True), True),
    ((OPEN,), Seen((THERE,)), False),
    ((OPEN,), Seen(), False),
    ((OPEN,), Seen(refused=True), False),
    ((OPEN,), Seen((Arrived("shop/web", 53, str(A)),), answered=True), False),
    ((OPEN,), Seen((Arrived("shop/db", 54, str(A)),), answered=True), False),
    ((OPEN,), Seen((Arrived("shop/db", 53, "192.0.2.1"),), answered=True), False),
    ((OPEN, DENIED), Seen(), True),
    ((DENIED,), Seen(), True),
    ((DENIED,), Seen((THERE,), answered=True), False),
    ((DENIED,), Seen(refused=True), False),
    ((REFUSED,), Seen(refused=True), True),
    ((REFUSED,), Seen(), False),
    ((BEYOND,), Seen(answered=True), True),
    ((BEYOND,), Seen(), False),
]


@pytest.mark.parametrize(("predictions", "seen", "fine"), VERDICTS)
def test_what_counts_as_a_mismatch(predictions, seen, fine) -> None:
    assert mismatch(predictions, seen) != fine


def test_a_prediction_and_what_was_seen_in_words() -> None:
    assert said_of((OPEN, DENIED)) == "arrives at shop/db port 53 as from 10.244.0.1 or is denied"
    assert said_seen(Seen((THERE,))) == (
        "arrived at shop/db port 53 as from 10.244.0.1 and got no answer"
    )
    assert said_seen(Seen(refused=True)) == "arrived nowhere and was refused"


def sized_by(mtu: int, *, every: bool = False) -> list[Check]:
    names = {a: f"shop/{pod.name}" for pod in PODS for a in pod.addresses}
    names |= {a: f"node/{n.name}" for n in CLUSTER.nodes.values() for a in n.addresses}
    predictor = Predictor(CLUSTER, names)
    small = [(check, predictor.predictions(check)) for check in planned(every=every)]
    return [check for check, _ in sized(CLUSTER, small, lambda _: mtu, every=every)]


def test_each_pair_of_nodes_is_sent_the_paths_mtu_and_more_in_both_families() -> None:
    at = {f"shop/{pod.name}": pod.node for pod in PODS}
    found = sized_by(1450)
    pairs = {
        (at[c.source], at[c.target], c.packet.source.version)
        for c in found
        if c.source in at and c.target in at
    }
    assert pairs == set(product(("node-1", "node-2"), ("node-1", "node-2"), (4, 6)))
    assert {(c.size, c.fits) for c in found} == {(1450, True), (1451, False), (1458, False)}
    assert not any(c.target.startswith("svc/") for c in found)


def test_every_pod_is_sent_to_and_sends_if_all_are_asked_for() -> None:
    names = {f"shop/{pod.name}" for pod in PODS}
    found = sized_by(1450, every=True)
    assert names <= {c.source for c in found}
    assert names <= {c.target for c in found}


def test_a_path_whose_mtu_is_not_known_is_sent_no_size() -> None:
    assert sized_by(0) == []


SIZE = Check("shop/web", "shop/db", Packet(A, B, "UDP", 0, 53), size=1450)
SIZES = [
    (True, Seen((THERE,)), False),
    (True, Seen((THERE,), refused=True), False),
    (True, Seen(too_big=True, room=1400), True),
    (True, Seen(), True),
    (True, Seen((Arrived("shop/web", 53, str(A)),)), True),
    (False, Seen(too_big=True), False),
    (False, Seen((THERE,)), False),
    (False, Seen(), True),
]


@pytest.mark.parametrize(("fits", "seen", "wrong"), SIZES)
def test_a_black_hole_is_a_size_that_neither_arrives_nor_is_told_of(fits, seen, wrong) -> None:
    check = msgspec.structs.replace(SIZE, fits=fits)
    assert wrong_size(check, (OPEN,), seen) == wrong


def test_who_leaves_by_a_node_port_or_the_cluster_is_seen_as_the_node() -> None:
    endpoints = (Endpoint(PODS[3].addresses[0]),)
    slice_ = EndpointSlice("shop", "web-1", "web", (("http", "TCP", 8080),), endpoints)
    cluster = cluster_of(
        CLUSTER.nodes.values(), PODS, (Namespace("shop"),), services=(SERVICE,), slices=(slice_,)
    )
    names = {address: f"shop/{pod.name}" for pod in PODS for address in pod.addresses}
    predictor = Predictor(cluster, names)
    by_target = {c.target: c for c in planned(cluster=cluster) if c.source.startswith("shop/web-1")}
    (prediction,) = predictor.predictions(by_target[str(OUTSIDE)])
    assert str(prediction.source) == "192.0.2.1"
    (prediction,) = predictor.predictions(by_target["svc/shop/web"])
    assert (prediction.receiver, prediction.port) == ("shop/web-2-1", 8080)
    (prediction,) = predictor.predictions(by_target["192.0.2.2"])
    assert str(prediction.source) == "192.0.2.2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kubeconfig", "/nowhere"), "verify probes labs only for now"),
        (("--rate", "fast"), "is no rate such as 100/s"),
        (("--rate", "nan/s"), "is no rate such as 100/s"),
        (("--port", "0"), "0 is not in the range"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(arguments, words) -> None:
    done = CliRunner().invoke(main, ["verify", *arguments])
    assert done.exit_code == 2
    assert words in done.output

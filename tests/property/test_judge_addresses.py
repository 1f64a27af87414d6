"""A pod's address that is not known: the judge is sure only of what is so at every address."""

from ipaddress import ip_address, ip_network
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from steppe.judge.judge import judge_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.cluster_policies import Action, ClusterNetworkPolicy, ClusterRule, Tier
from steppe.kube.doubt import AddressInDoubt, Doubt
from steppe.kube.objects import Pod
from steppe.kube.policies import AnyTraffic, Block, Namespace, NetworkPolicy, Pods, Port, Rule
from steppe.kube.selectors import EVERYTHING
from steppe.net.packet import Packet
from steppe.net.ports import PortRange
from steppe.reach.reach import reach_of
from tests.worlds import node_at

NODES = (node_at(0), node_at(1))
SENDER = Pod("d", "a", "uid-a", NODES[0].name, (ip_address("10.9.0.1"), ip_address("fd00:9::1")))
PLACES = tuple(
    map(ip_address, ("10.1.0.5", "10.1.2.5", "10.2.0.5", "fd00:1::5", "fd00:1:2::5", "fd00:2::5"))
)
PREFIXES = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fd00::/16", "fd00:1::/32", "fd00:1:2::/48")
PORTS: tuple[Port, ...] = (AnyTraffic(), PortRange("TCP", 80, 80))

blocks = st.sampled_from(PREFIXES).map(ip_network).map(Block)
peers = st.lists(st.one_of(blocks, st.just(Pods())), min_size=1, max_size=2).map(tuple)
ports = st.sampled_from(PORTS).map(lambda port: (port,))


@st.composite
def admins(draw: st.DrawFn, number: int) -> ClusterNetworkPolicy:
    rules = draw(
        st.lists(st.tuples(st.sampled_from(get_args(Action)), peers, ports), min_size=1, max_size=4)
    )
    egress = tuple(ClusterRule(f"spec.egress[{i}]", "", *rule) for i, rule in enumerate(rules))
    tier: Tier = draw(st.sampled_from(get_args(Tier)))
    return ClusterNetworkPolicy(f"c{number}", tier, number, Pods(), egress=egress)


@st.composite
def policies(draw: st.DrawFn) -> tuple[NetworkPolicy, ...]:
    if draw(st.booleans()):
        return ()
    rules = draw(st.lists(st.tuples(peers, ports), max_size=2))
    egress = tuple(Rule(f"spec.egress[{i}]", *rule) for i, rule in enumerate(rules))
    return (NetworkPolicy("d", "n", EVERYTHING, frozenset({"egress"}), egress=egress),)


def world(address: int, doubts: tuple[Doubt, ...], *policies: object) -> tuple[Cluster, Pod]:
    places = (PLACES[address % 3], PLACES[3 + address % 3])
    receiver = Pod("d", "b", "uid-b", NODES[1].name, places)
    return (
        cluster_of(
            NODES,
            [SENDER, receiver],
            [Namespace("d")],
            [each for each in policies if isinstance(each, NetworkPolicy)],
            cluster_policies=[e for e in policies if isinstance(e, ClusterNetworkPolicy)],
            doubts=doubts,
        ),
        receiver,
    )


UNKNOWN = Doubt(Cause(Pod("d", "b").ref, "status.podIPs"), "is not known", AddressInDoubt("d", "b"))


@given(st.tuples(admins(1), admins(2), policies()).map(lambda each: (*each[:2], *each[2])))
def test_a_yes_or_no_is_true_of_every_address(written: tuple[object, ...]) -> None:
    unsure, _ = world(0, (UNKNOWN,), *written)
    for port in (80, 81):
        for version in (0, 1):
            packets = [
                (cluster, Packet(SENDER.addresses[version], to.addresses[version], "TCP", 1, port))
                for cluster, to in (world(place, (), *written) for place in range(3))
            ]
            true = {judge_of(cluster).verdict(packet).said for cluster, packet in packets}
            said = judge_of(unsure).verdict(packets[0][1]).said
            assert said == "unknown" or {said} == true


@given(st.tuples(admins(1), admins(2), policies()).map(lambda each: (*each[:2], *each[2])))
def test_rows_say_what_the_judge_says(written: tuple[object, ...]) -> None:
    unsure, receiver = world(0, (UNKNOWN,), *written)
    reach = reach_of(unsure)
    sender, to = (reach.group_of_pod["d", name] for name in ("a", "b"))
    (row,) = reach.rows(to, 1 << sender)
    for port in (80, 81):
        said = set()
        for version in (4, 6):
            index = 0 if version == 4 else 1
            ends = (SENDER.addresses[index], receiver.addresses[index])
            said.add(reach.judge.verdict(Packet(*ends, "TCP", 1, port)).said)
            if said == {"yes"}:
                own = row.version(version)
                assert own is not None
                assert own.holds("TCP", port)
        assert row.unknown.holds("TCP", port) == ("unknown" in said)


def test_there_is_a_doubt_that_a_rule_of_action_pass_turns() -> None:
    closing = NetworkPolicy("d", "n", EVERYTHING, frozenset({"egress"}))
    passing = ClusterRule(
        "spec.egress[0]", "", "Pass", (Block(ip_network("10.1.0.0/16")),), PORTS[:1]
    )
    opening = ClusterRule("spec.egress[1]", "", "Accept", (Pods(),), PORTS[:1])
    said = {}
    for name, rules in (("open", (passing, opening)), ("shut", (passing,))):
        admin = ClusterNetworkPolicy("c", "Admin", 1, Pods(), egress=rules)
        for isolated in ((), (closing,)):
            cluster, to = world(0, (UNKNOWN,), admin, *isolated)
            packet = Packet(SENDER.addresses[0], to.addresses[0], "TCP", 1, 80)
            said[name, bool(isolated)] = judge_of(cluster).verdict(packet).said
    assert said == {
        ("open", False): "yes",
        ("open", True): "unknown",
        ("shut", False): "yes",
        ("shut", True): "no",
    }

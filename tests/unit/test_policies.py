"""Policies as they are read, what nonsense becomes, and the choices that the spec makes."""

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from steppe.kube import policy_wire, wire
from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy, cluster_policy_from
from steppe.kube.objects import NamedPort, Node, Pod, node_from, pod_from
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Namespace,
    NetworkPolicy,
    Pods,
    PortName,
    network_policy_from,
)
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.net.packet import Packet
from steppe.net.ports import PortRange
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World, world_of


def network_policy(**spec: Any) -> tuple[NetworkPolicy, list[str]]:
    document = {"metadata": {"namespace": "x", "name": "p"}, "spec": spec}
    policy, problems = network_policy_from(msgspec.convert(document, policy_wire.NetworkPolicy))
    return policy, [f"{problem.cause.field}: {problem.message}" for problem in problems]


def cluster_policy(**spec: Any) -> tuple[ClusterNetworkPolicy, list[str]]:
    whole = {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}, **spec}
    document = {"metadata": {"name": "c"}, "spec": whole}
    seen = msgspec.convert(document, policy_wire.ClusterNetworkPolicy)
    policy, problems = cluster_policy_from(seen)
    return policy, [f"{problem.cause.field}: {problem.message}" for problem in problems]


def test_a_rule_without_peers_or_ports_is_for_anyone_and_any_traffic() -> None:
    policy, problems = network_policy(podSelector={}, ingress=[{}, {"from": [], "ports": []}])
    assert problems == []
    assert [(rule.peers, rule.ports) for rule in policy.ingress] == [
        ((Anyone(),), (AnyTraffic(),))
    ] * 2


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ({}, {"ingress"}),
        ({"ingress": [{}]}, {"ingress"}),
        ({"egress": []}, {"ingress"}),
        ({"egress": [{}]}, {"ingress", "egress"}),
        ({"policyTypes": [], "egress": [{}]}, {"ingress", "egress"}),
        ({"policyTypes": ["Egress"]}, {"egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"ingress"}),
    ],
)
def test_policy_types_default_as_the_api_says(spec: dict[str, Any], isolates: set[str]) -> None:
    policy, problems = network_policy(**spec)
    assert (policy.isolates, problems) == (isolates, [])


def test_a_section_whose_type_is_not_named_is_idle() -> None:
    policy, _ = network_policy(policyTypes=["Ingress"], egress=[{}], ingress=[{}])
    assert (len(policy.ingress), policy.egress) == (1, ())


@pytest.mark.parametrize(
    ("peer", "field"),
    [
        ({}, "spec.ingress[0].from[0]"),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}, "spec.ingress[0].from[0]"),
        ({"ipBlock": {"cidr": "10.0.0.0"}}, "spec.ingress[0].from[0].ipBlock.cidr"),
        ({"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}, "spec.ingress[0].from[0].ipBlock.cidr"),
        ({"ipBlock": {"cidr": "fe80::%eth0/64"}}, "spec.ingress[0].from[0].ipBlock.cidr"),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}},
            "spec.ingress[0].from[0].ipBlock.except[0]",
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}},
            "spec.ingress[0].from[0].ipBlock.except[0]",
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "rubbish"]}},
            "spec.ingress[0].from[0].ipBlock.except[1]",
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            "spec.ingress[0].from[0].podSelector.matchExpressions[0]",
        ),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0]",
        ),
    ],
)
def test_a_peer_that_is_not_understood_lets_nobody_in(peer: dict[str, Any], field: str) -> None:
    policy, problems = network_policy(ingress=[{"from": [peer]}])
    assert [problem.partition(": ")[0] for problem in problems] == [field]
    assert policy.ingress[0].peers == ()


@pytest.mark.parametrize(
    "port",
    [
        {"port": 80, "endPort": 79},
        {"port": "web", "endPort": 90},
        {"endPort": 90},
        {"port": 0},
        {"port": 65536},
        {"port": 80, "endPort": 70000},
        {"port": ""},
        {"protocol": "ICMP"},
        {"protocol": ""},
        {"protocol": "tcp", "port": 80},
    ],
)
def test_a_port_that_is_not_understood_lets_nothing_through(port: dict[str, Any]) -> None:
    policy, problems = network_policy(ingress=[{"ports": [port]}])
    assert len(problems) == 1
    assert problems[0].startswith("spec.ingress[0].ports[0]: ")
    assert policy.ingress[0].ports == ()


def test_a_peer_and_a_port_that_are_understood_stay_beside_those_that_are_not() -> None:
    rule = {
        "from": [{}, {"ipBlock": {"cidr": "10.1.2.3/8", "except": ["10.9.0.0/16"]}}],
        "ports": [{"port": 0}, {"port": "web"}, {"port": 79, "endPort": 81, "protocol": "UDP"}],
    }
    policy, problems = network_policy(ingress=[rule])
    assert len(problems) == 2
    block = Block(ip_network("10.0.0.0/8"), (ip_network("10.9.0.0/16"),))
    assert policy.ingress[0].peers == (block,)
    assert policy.ingress[0].ports == (PortName("web", "TCP"), PortRange("UDP", 79, 81))


def test_a_pod_selector_that_is_not_understood_isolates_all_it_may_mean() -> None:
    expressions = [{"key": "a", "operator": "Near"}, {"key": "b", "operator": "Exists"}]
    policy, problems = network_policy(
        podSelector={"matchExpressions": expressions}, ingress=[{}], policyTypes=["Ingress"]
    )
    assert len(problems) == 1
    assert policy.pods == Selector((Requirement("b", "Exists"),))
    assert (policy.isolates, policy.ingress) == ({"ingress"}, ())


def test_a_policy_type_that_is_not_known_isolates_both_ways() -> None:
    policy, problems = network_policy(policyTypes=["Ingress", "Sideways"], ingress=[{}])
    assert len(problems) == 1
    assert policy.isolates == {"ingress", "egress"}
    assert (len(policy.ingress), policy.egress) == (1, ())


def test_selectors_written_differently_are_one_value() -> None:
    labels = {"matchLabels": {"a": "1", "b": "2"}}
    expressions = [
        {"key": "b", "operator": "In", "values": ["2"]},
        {"key": "a", "operator": "In", "values": ["1", "1"]},
    ]
    first, _ = network_policy(podSelector=labels)
    second, _ = network_policy(podSelector={"matchExpressions": expressions})
    assert first.pods == second.pods


@pytest.mark.parametrize(
    ("operator", "values", "takes"),
    [
        ("In", ["1"], [{"a": "1"}]),
        ("NotIn", ["1"], [{"a": "2"}, {}]),
        ("Exists", [], [{"a": "1"}, {"a": "2"}]),
        ("DoesNotExist", [], [{}]),
    ],
)
def test_each_operator_takes_what_it_says(
    operator: str, values: list[str], takes: list[dict[str, str]]
) -> None:
    expression = {"key": "a", "operator": operator, "values": values}
    policy, problems = network_policy(podSelector={"matchExpressions": [expression]})
    assert problems == []
    everything: list[dict[str, str]] = [{"a": "1"}, {"a": "2"}, {}]
    assert [labels for labels in everything if policy.pods.matches(labels)] == takes


DENY_ALL = ("Deny", (Anyone(),), (AnyTraffic(),))


@pytest.mark.parametrize(
    "change",
    [
        {"to": []},
        {"to": [{}]},
        {"to": [{"namespaces": {}}, {"teleports": {}}]},
        {"to": [{"namespaces": {}, "nodes": {}}]},
        {"to": [{"domainNames": ["example.org"]}]},
        {"to": [{"networks": []}]},
        {"to": [{"networks": ["10.0.0.0/8", "rubbish"]}]},
        {"to": [{"pods": {"namespaceSelector": {}}}]},
        {"to": [{"namespaces": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]},
        {"protocols": []},
        {"protocols": [{}]},
        {"protocols": [{"tcp": {}, "udp": {}}]},
        {"protocols": [{"icmp": {"type": 8}}]},
        {"protocols": [{"tcp": {"destinationPort": {}}}]},
        {"protocols": [{"tcp": {"destinationPort": {"number": 70000}}}]},
        {"protocols": [{"tcp": {"destinationPort": {"range": {"start": 9, "end": 8}}}}]},
        {"protocols": [{"destinationNamedPort": ""}]},
        {"to": [{"nodes": {}}], "protocols": [{"destinationNamedPort": "web"}]},
    ],
)
def test_a_rule_that_is_not_understood_fails_closed(change: dict[str, Any]) -> None:
    rule = {"to": [{"namespaces": {}}], **change}
    for action, expected in (("Accept", []), ("Deny", [DENY_ALL]), ("Pass", [DENY_ALL])):
        policy, problems = cluster_policy(egress=[{**rule, "action": action}])
        assert len(problems) == 1, change
        assert problems[0].startswith("spec.egress[0]")
        assert [(rule.action, rule.peers, rule.ports) for rule in policy.egress] == expected


@pytest.mark.parametrize("peer", [{"networks": ["10.0.0.0/8"]}, {"nodes": {}}])
def test_ingress_knows_no_peers_but_pods(peer: dict[str, Any]) -> None:
    policy, problems = cluster_policy(
        ingress=[{"action": action, "from": [peer]} for action in ("Accept", "Deny")]
    )
    assert len(problems) == 2
    assert [(rule.action, rule.peers, rule.ports) for rule in policy.ingress] == [DENY_ALL]


def test_an_action_that_is_not_known_denies_what_the_rule_is_about() -> None:
    policy, problems = cluster_policy(ingress=[{"action": "Log", "from": [{"namespaces": {}}]}])
    assert len(problems) == 1
    assert policy.ingress[0].action == "Deny"
    assert policy.ingress[0].peers == (Pods(),)


@pytest.mark.parametrize(
    "change",
    [
        {"tier": "Royal"},
        {"priority": 1001},
        {"priority": -1},
        {"subject": {}},
        {"subject": {"namespaces": {}, "pods": {"podSelector": {}}}},
        {"subject": {"namespaces": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}},
    ],
)
def test_doubt_for_whom_or_when_leaves_only_what_denies(change: dict[str, Any]) -> None:
    peer = [{"namespaces": {}}]
    rules = [{"action": action, "from": peer} for action in ("Accept", "Pass", "Deny")]
    policy, problems = cluster_policy(ingress=rules, **change)
    assert len(problems) == 1
    assert [(rule.field, rule.action) for rule in policy.ingress] == [
        ("spec.ingress[1]", "Deny"),
        ("spec.ingress[2]", "Deny"),
    ]
    assert policy.subject == Pods(EVERYTHING, EVERYTHING)


def test_pods_bring_their_labels_and_the_named_ports_of_what_keeps_running() -> None:
    document = {
        "metadata": {"namespace": "x", "name": "a", "labels": {"app": "web"}},
        "spec": {
            "containers": [
                {"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]},
                {"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            ],
            "initContainers": [
                {"ports": [{"name": "setup", "containerPort": 1}]},
                {
                    "restartPolicy": "Always",
                    "ports": [{"name": "metrics", "containerPort": 9090}],
                },
            ],
        },
    }
    pod, problems = pod_from(msgspec.convert(document, wire.Pod))
    assert (pod.labels, problems) == ({"app": "web"}, ())
    assert pod.ports == (
        NamedPort("web", "TCP", 80),
        NamedPort("dns", "UDP", 53),
        NamedPort("metrics", "TCP", 9090),
    )


def test_a_node_keeps_external_addresses_apart() -> None:
    addresses = [
        {"type": "InternalIP", "address": "192.0.2.11"},
        {"type": "ExternalIP", "address": "203.0.113.11"},
        {"type": "Hostname", "address": "n1"},
    ]
    document = {"metadata": {"name": "n1"}, "status": {"addresses": addresses}}
    node, problems = node_from(msgspec.convert(document, wire.Node))
    assert problems == ()
    assert node.addresses == (ip_address("192.0.2.11"),)
    assert node.external_addresses == (ip_address("203.0.113.11"),)


A, B, HOST = ip_address("10.244.1.2"), ip_address("10.244.1.3"), ip_address("192.0.2.12")
OWN_NODE, OWN_NODE_OUTSIDE = ip_address("192.0.2.11"), ip_address("203.0.113.11")
OUTSIDE = ip_address("198.51.100.7")


def world(*policies: NetworkPolicy | ClusterNetworkPolicy) -> World:
    """Pods a and b on n1; a host-network pod on n2 that has a's labels."""
    ports = (NamedPort("web", "TCP", 80),)
    return world_of(
        pods=[
            Pod("x", "a", node="n1", addresses=(A,), labels={"pod": "a"}, ports=ports),
            Pod("x", "b", node="n1", addresses=(B,), labels={"pod": "b"}),
            Pod("x", "h", node="n2", addresses=(HOST,), labels={"pod": "a"}, host_network=True),
            Pod("x", "old", node="n1", addresses=(B,), labels={"pod": "a"}, finished=True),
        ],
        namespaces=[Namespace("x", {"kubernetes.io/metadata.name": "x"})],
        nodes=[
            Node("n1", addresses=(OWN_NODE,), external_addresses=(OWN_NODE_OUTSIDE,)),
            Node("n2", addresses=(HOST,)),
        ],
        network_policies=[p for p in policies if isinstance(p, NetworkPolicy)],
        cluster_policies=[p for p in policies if isinstance(p, ClusterNetworkPolicy)],
    )


def tcp(source: Any, destination: Any, port: int = 80) -> Packet:
    return Packet(source, destination, "TCP", 40000, port)


CLOSED, _ = network_policy(podSelector={}, policyTypes=["Ingress", "Egress"])
DENY_EVERYBODY, _ = cluster_policy(
    egress=[{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}],
    ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}],
)


def test_a_pod_reaches_itself_unless_an_administrator_denies_it_through_a_service() -> None:
    for policies in ((CLOSED,), (DENY_EVERYBODY,), (CLOSED, DENY_EVERYBODY)):
        assert verdict(world(*policies), tcp(A, A)).allowed
    assert verdict(world(CLOSED), tcp(A, A), via_service=True).allowed
    assert not verdict(world(DENY_EVERYBODY), tcp(A, A), via_service=True).allowed


def test_the_own_node_gets_in_but_is_reached_only_as_policy_says() -> None:
    for address in (OWN_NODE, OWN_NODE_OUTSIDE):
        assert verdict(world(CLOSED), tcp(address, A)).allowed
        assert not verdict(world(CLOSED), tcp(A, address)).allowed
    assert not verdict(world(CLOSED), tcp(HOST, A)).allowed


def test_host_network_pods_are_their_nodes() -> None:
    from_a, _ = network_policy(podSelector={}, ingress=[{"from": [{"podSelector": {}}]}])
    assert not verdict(world(from_a), tcp(HOST, B)).allowed
    assert verdict(world(from_a), tcp(OUTSIDE, HOST)).allowed
    by_address, _ = network_policy(ingress=[{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}])
    assert verdict(world(by_address), tcp(HOST, B)).allowed


def test_a_finished_pod_no_longer_stands_for_its_address() -> None:
    only_a, _ = network_policy(
        podSelector={}, ingress=[{"from": [{"podSelector": {"matchLabels": {"pod": "a"}}}]}]
    )
    assert not verdict(world(only_a), tcp(B, A)).allowed
    assert verdict(world(only_a), tcp(A, B)).allowed


def test_a_port_name_is_the_receivers_even_behind_an_ip_block() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "web"}]}
    policy, _ = network_policy(podSelector={}, policyTypes=["Egress"], egress=[rule])
    assert verdict(world(policy), tcp(B, A)).allowed
    assert not verdict(world(policy), tcp(B, A, 81)).allowed
    assert not verdict(world(policy), tcp(A, B)).allowed
    assert not verdict(world(policy), tcp(A, OUTSIDE)).allowed


def test_icmp_passes_only_rules_without_ports() -> None:
    ping = Packet(A, B, "ICMP")
    any_port, _ = network_policy(ingress=[{"from": [{"podSelector": {}}]}])
    all_tcp, _ = network_policy(ingress=[{"ports": [{"protocol": "TCP"}]}])
    assert verdict(world(any_port), ping).allowed
    assert not verdict(world(all_tcp), ping).allowed


def test_between_equal_priorities_the_name_decides() -> None:
    rules = {"Accept": "a", "Deny": "b"}
    policies = [
        msgspec.structs.replace(
            cluster_policy(ingress=[{"action": action, "from": [{"namespaces": {}}]}])[0], name=name
        )
        for action, name in rules.items()
    ]
    assert verdict(world(*policies), tcp(A, B)).allowed
    assert verdict(world(*reversed(policies)), tcp(A, B)).allowed


def test_a_verdict_names_the_rule_or_the_policies_that_isolate() -> None:
    allow, _ = network_policy(ingress=[{"ports": [{"port": 81}]}, {"ports": [{"port": 80}]}])
    denied = verdict(world(allow), tcp(A, B, 82))
    assert not denied.allowed
    assert denied.egress.by == "default"
    assert denied.ingress.because == (Cause(allow.ref, "spec.podSelector"),)
    allowed = verdict(world(allow), tcp(A, B))
    assert allowed.ingress.because == (Cause(allow.ref, "spec.ingress[1]"),)
    admin = verdict(world(allow, DENY_EVERYBODY), tcp(A, B))
    assert (admin.ingress.by, admin.ingress.allowed) == ("Admin", False)
    assert admin.ingress.because == (Cause(DENY_EVERYBODY.ref, "spec.ingress[0]"),)

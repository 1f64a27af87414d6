"""Tracked flows that policies forbid: as they would be judged if they began now."""

from ipaddress import ip_address, ip_network

import pytest

from steppe.compile.node import compile_node
from steppe.compile.policy_tables import PolicyObjects
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Direction, NetworkPolicy, Pods, Rule
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.net.flow import Endpoints, Flow
from steppe.net.ports import PortRange
from steppe.settings import Settings
from steppe.state.workload import workload_of
from steppe.walk.forbidden import forbidden

NODE = Node(
    "n1",
    prefixes=pod_cidrs("n1", [ip_network("10.244.1.0/24")]),
    addresses=(ip_address("192.0.2.11"),),
)
WEB = Pod("x", "web", node="n1", addresses=(ip_address("10.244.1.2"),), labels={"app": "web"})
FRIEND = Pod("x", "friend", node="n2", addresses=(ip_address("10.244.2.3"),), labels={"app": "f"})
STRANGER = Pod("x", "stranger", node="n2", addresses=(ip_address("10.244.2.4"),))
OUTSIDE, SERVICE = "203.0.113.9", "10.96.0.10"


def flow(source: str, dialled: str, answered: str, port: int = 80) -> Flow:
    return Flow(
        "TCP",
        Endpoints(ip_address(source), 40000, ip_address(dialled), 8080),
        # Masqueraded: the answers go to the node, and policy does not care.
        Endpoints(ip_address(answered), port, NODE.addresses[0], 1025),
    )


def ended(flows: list[Flow], direction: Direction) -> list[Flow]:
    peers = Pods(pods=Selector((Requirement("app", "In", frozenset("f")),)), within="x")
    rule = Rule("spec.rule", (peers,), (PortRange("TCP", 80, 80),))
    policy = NetworkPolicy("x", "p", EVERYTHING, frozenset((direction,)), (rule,), (rule,))
    objects = PolicyObjects((WEB, FRIEND, STRANGER), (), (policy,))
    workload = workload_of(WEB)
    assert workload is not None
    state, _ = compile_node(Settings(fabric="direct"), NODE, [NODE], [workload], policies=objects)
    return list(forbidden(flows, state, frozenset(NODE.addresses)))


@pytest.mark.parametrize("dialled", ["10.244.1.2", SERVICE])
def test_the_real_receiver_and_port_count(dialled: str) -> None:
    good = flow("10.244.2.3", dialled, "10.244.1.2")
    bad = [flow("10.244.2.4", dialled, "10.244.1.2"), flow("10.244.2.3", dialled, "10.244.1.2", 81)]
    assert ended([good, *bad], "ingress") == bad


def test_what_a_pod_began_is_judged_by_its_egress_policies() -> None:
    good = flow("10.244.1.2", SERVICE, "10.244.2.3")
    bad = [
        flow("10.244.1.2", SERVICE, "10.244.2.4"),
        flow("10.244.1.2", OUTSIDE, OUTSIDE),
        flow("10.244.1.2", "192.0.2.11", "192.0.2.11"),
    ]
    assert ended([good, *bad], "egress") == bad


def test_nothing_else_is_ended() -> None:
    others = [
        flow("192.0.2.11", "10.244.1.2", "10.244.1.2"),  # its own node
        flow("10.244.2.4", "10.244.2.3", "10.244.2.3"),  # no pod of this node
        flow(OUTSIDE, "192.0.2.11", "192.0.2.11"),
        flow("10.244.1.2", OUTSIDE, OUTSIDE),  # egress, where only ingress is isolated
    ]
    assert ended(others, "ingress") == []

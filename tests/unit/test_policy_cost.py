"""What a policy costs to compile: its size times a logarithm, whatever it is made of."""

from collections.abc import Callable
from ipaddress import IPv4Address, ip_network

import msgspec
import pytest

from steppe.compile.incremental import NodeCompiler
from steppe.compile.policy_tables import PolicyObjects
from steppe.kube import policy_wire
from steppe.kube.objects import Node, Pod, Workload
from steppe.kube.policies import Namespace, NetworkPolicy, network_policy_from
from steppe.kube.prefixes import pod_cidrs
from steppe.settings import Settings
from tests.work import steps

SMALL, TIMES = 60, 4
LOCAL, PEERS = 2, 50
ANY_POD = {"namespaceSelector": {}}


def world() -> NodeCompiler:
    compiler = NodeCompiler(Settings(), "node-a")
    prefix = ip_network("10.244.1.0/24")
    compiler.set_node(Node("node-a", prefixes=pod_cidrs("node-a", [prefix])))
    pods: list[Pod] = []
    for number in range(LOCAL + PEERS):
        here = number < LOCAL
        address = IPv4Address("10.244.1.5" if here else "10.244.2.5") + number
        space, name = ("here" if here else "there"), f"p{number}"
        labels = {"app": f"a{number}"}
        pods.append(Pod(space, name, node="", addresses=(address,), labels=labels))
        if here:
            compiler.set_workload(Workload(f"st{number}", space, name, "node-a", (address,)))
    spaces = (Namespace("here"), Namespace("there"))
    compiler.policies.learn(PolicyObjects(tuple(pods), spaces))
    return compiler


def policy(*ingress: dict[str, object]) -> NetworkPolicy:
    document = {
        "metadata": {"name": "p", "namespace": "here"},
        "spec": {"podSelector": {}, "ingress": ingress},
    }
    return network_policy_from(msgspec.convert(document, policy_wire.NetworkPolicy))[0]


def ports(count: int) -> list[dict[str, int]]:
    return [{"port": 2 * number + 1} for number in range(count)]


def cidrs(count: int) -> list[dict[str, object]]:
    return [{"ipBlock": {"cidr": f"10.{n // 256}.{n % 256}.0/24"}} for n in range(count)]


CASES: dict[str, Callable[[int], NetworkPolicy]] = {
    "odd ports": lambda n: policy({"ports": ports(n)}),
    "odd ports for pods": lambda n: policy({"from": [ANY_POD], "ports": ports(n)}),
    "a rule a port": lambda n: policy(*({"from": [ANY_POD], "ports": [p]} for p in ports(n))),
    "ranges in ranges": lambda n: policy(
        {"ports": [{"port": 1 + i, "endPort": 65535 - i} for i in range(n)]}
    ),
    "excepts": lambda n: policy(
        {
            "from": [
                {
                    "ipBlock": {
                        "cidr": "0.0.0.0/0",
                        "except": [f"10.{i // 256}.{i % 256}.1/32" for i in range(n)],
                    }
                }
            ]
        }
    ),
    "excepts of IPv6": lambda n: policy(
        {
            "from": [
                {"ipBlock": {"cidr": "::/0", "except": [f"fd00:{i:x}::1/128" for i in range(n)]}}
            ]
        }
    ),
    "prefixes": lambda n: policy({"from": cidrs(n)}),
    "a rule a prefix": lambda n: policy(*({"from": [each]} for each in cidrs(n))),
    "selectors": lambda n: policy(
        {"from": [{"podSelector": {"matchLabels": {f"k{i}": "v"}}, **ANY_POD} for i in range(n)]}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_policy_four_times_as_large_costs_about_four_times_as_much(case: str) -> None:
    def cost(size: int) -> int:
        compiler, made = world(), CASES[case](size)
        there = steps(lambda: compiler.policies.set_policy(made))
        return there + steps(lambda: compiler.policies.remove_policy("here", "p"))

    assert cost(TIMES * SMALL) < 1.6 * TIMES * cost(SMALL)


def test_many_pods_and_many_peers_of_one_rule_cost_their_sum_and_not_their_product() -> None:
    """Whom a changed rule may concern is looked up and not tried peer by peer."""

    def cost(size: int) -> int:
        compiler = world()
        made = policy({"from": cidrs(size)})
        return steps(lambda: compiler.policies.set_policy(made))

    small, large = cost(SMALL), cost(TIMES * SMALL)
    assert large < 1.6 * TIMES * small

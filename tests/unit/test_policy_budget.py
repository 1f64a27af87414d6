"""Policies of one namespace that are too much together: the largest are closed, for everybody."""

import msgspec
import pytest

from steppe.compile.incremental import NodeCompiler
from steppe.compile.policy_tables import PolicyObjects
from steppe.kube import policy_wire
from steppe.kube.cluster import cluster_of
from steppe.kube.policies import NetworkPolicy, network_policy_from
from steppe.kube.policy_budget import MAX_ENTRIES, size_of
from steppe.service.granted import granted
from steppe.settings import Settings
from steppe.state.node import values
from tests.unit.test_policy_cost import ANY_POD, cidrs, ports, world

SMALL = {"from": [ANY_POD], "ports": ports(2)}


def policy(name: str, *ingress: dict[str, object]) -> NetworkPolicy:
    document = {
        "metadata": {"name": name, "namespace": "here"},
        "spec": {"podSelector": {}, "ingress": ingress},
    }
    return network_policy_from(msgspec.convert(document, policy_wire.NetworkPolicy))[0]


LARGE = [policy(f"large-{n}", {"from": cidrs(4_000 + n)}) for n in range(3)]
LITTLE = policy("little", SMALL)


def test_the_sizes_are_such_that_the_largest_does_not_fit() -> None:
    total = sum(size_of(each).entries for each in (*LARGE, LITTLE))
    assert MAX_ENTRIES < total < MAX_ENTRIES + size_of(LARGE[2]).entries


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 1, 0), (3, 2, 0, 1)], ids=str)
def test_the_same_ones_are_closed_whatever_came_first(order: tuple[int, ...]) -> None:
    every = (*LARGE, LITTLE)
    compiler = world()
    for index in order:
        compiler.policies.set_policy(every[index])
    fresh = world()
    fresh.policies.learn(PolicyObjects((), (), every))
    assert values(compiler.state) == values(fresh.state)
    assert told(compiler) == ["large-2"]
    compiler.policies.remove_policy("here", "large-0")
    assert told(compiler) == []
    compiler.policies.set_policy(LARGE[0])
    assert told(compiler) == ["large-2"]


def told(compiler: NodeCompiler) -> list[str]:
    crowded = (problem for problem in compiler.problems if "too much" in problem.message)
    return [problem.cause.ref.name for problem in crowded]


def test_reach_explain_and_lint_close_the_same_policy() -> None:
    given, problems = granted(cluster_of(network_policies=(*LARGE, LITTLE)), Settings())
    assert [name for (_, name), each in given.network_policies.items() if not each.ingress] == [
        "large-2"
    ]
    assert [problem.cause.ref.name for problem in problems] == ["large-2"]
    assert given.network_policies["here", "large-2"].isolates == {"ingress"}

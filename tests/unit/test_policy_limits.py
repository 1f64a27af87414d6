"""A policy beyond a limit is closed for the pods it selects, and a Problem says which and why."""

from typing import Any

import msgspec
import pytest

from steppe.kube import policy_wire as wire
from steppe.kube.cluster_policies import cluster_policy_from
from steppe.kube.policies import network_policy_from
from steppe.kube.policy_limits import LIMITS, MAX_OVERLAPS

SELECTOR = {"matchLabels": {"app": "web"}}


def port(number: int) -> dict[str, Any]:
    return {"port": 1 + number}


def block(number: int, *excepted: str, length: int = 32) -> dict[str, Any]:
    cidr = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/{length}"
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepted)} if excepted else {})}}


def labelled(values: int) -> dict[str, Any]:
    expression = {"key": "app", "operator": "In", "values": [f"v{n}" for n in range(values)]}
    return {"podSelector": {"matchExpressions": [expression]}}


def cut(count: int, length: int) -> dict[str, Any]:
    """A block of IPv6 with so many addresses taken out of it."""
    return {
        "ipBlock": {
            "cidr": f"fd00::/{length}",
            "except": [f"fd00::{n:x}/128" for n in range(count)],
        }
    }


RULES, PORTS, PEERS, EXCEPTED, SELECTED = LIMITS.values()
CASES: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("rules", [{"ports": [port(0)]}] * RULES, [{"ports": [port(0)]}] * (RULES + 1)),
    (
        "ports",
        [{"ports": [port(n) for n in range(PORTS)]}],
        [{"ports": [port(n) for n in range(PORTS // 2)]}, {"ports": [port(0)] * (PORTS // 2 + 1)}],
    ),
    (
        "peers",
        [{"from": [block(n) for n in range(PEERS)]}],
        [{"from": [block(n) for n in range(PEERS + 1)]}],
    ),
    ("except entries", [{"from": [cut(EXCEPTED, 112)]}], [{"from": [cut(EXCEPTED + 1, 112)]}]),
    (
        "selector keys and values",
        [{"from": [labelled(SELECTED - 4)]}],
        [{"from": [labelled(SELECTED)]}],
    ),
    ("cut its blocks into", [{"from": [cut(200, 28)]}], [{"from": [cut(201, 28)]}]),
    (
        f"more than {MAX_OVERLAPS:,}",
        [{"from": [block(0, f"10.0.{n}.0/24", length=8)]} for n in range(98)],
        [{"from": [block(0, f"10.0.{n}.0/24", length=8)]} for n in range(100)],
    ),
]


@pytest.mark.parametrize(("what", "within", "beyond"), CASES, ids=[case[0] for case in CASES])
def test_a_policy_beyond_a_limit_is_closed_and_says_so(
    what: str, within: list[dict[str, Any]], beyond: list[dict[str, Any]]
) -> None:
    def parsed(rules: list[dict[str, Any]]):
        spec = {"podSelector": SELECTOR, "ingress": rules}
        document = {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}
        return network_policy_from(msgspec.convert(document, wire.NetworkPolicy))

    policy, problems = parsed(within)
    assert (len(policy.ingress), problems) == (len(within), ())
    policy, (problem,) = parsed(beyond)
    assert (policy.ingress, policy.isolates) == ((), {"ingress"})
    assert not policy.pods.matches({"app": "db"})
    assert what in problem.message
    assert "lets nothing through; use endPort" in problem.message
    assert problem.cause.field == "spec"


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_cluster_policy_beyond_a_limit_denies_all_to_its_subject(direction: str) -> None:
    field = "from" if direction == "ingress" else "to"
    peers = [{"namespaces": {}}]
    rules = [{"action": "Accept", field: peers, "protocols": [{"tcp": {}}]}] * (RULES + 1)
    spec = {"tier": "Baseline", "priority": 7, "subject": {"namespaces": {}}, direction: rules}
    document = {"metadata": {"name": "p"}, "spec": spec}
    policy, (problem,) = cluster_policy_from(msgspec.convert(document, wire.ClusterNetworkPolicy))
    closed = policy.rules(direction)  # type: ignore[arg-type]
    assert [rule.action for rule in closed] == ["Deny"]
    assert (policy.tier, policy.priority) == ("Baseline", 7)
    assert len((*policy.ingress, *policy.egress)) == 1
    assert f"{RULES + 1} rules, more than {RULES}" in problem.message

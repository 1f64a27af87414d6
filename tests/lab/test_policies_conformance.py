"""Conformance cases in a lab: some that are shipped, and whether what is not as said is noticed."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conformance.netpol_cases import Case, read_folder
from tests.conformance.netpol_live import AnyCase, run
from tests.conformance.test_netpol import DENY_ALL, NOBODY, SMALL, probe
from tests.lab.conftest import PREFIX

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SHIPPED = {
    "cyc-action-006": "a pod is relabelled, TCP, UDP and SCTP",
    "rnd-0007": "hosts outside, addresses that matter, pods and namespaces relabelled",
    "ext-54": "blocks with exceptions inside exceptions",
    "e2e-33v-sctp": "policies of both directions go",
    "ext-70": "a namespace is relabelled",
    "cnp-23-AdminTierEgressNodePeers": "tiers, nodes as peers, pods in their node's network",
    "cnpx-15": "a pod is relabelled under ClusterNetworkPolicies",
    "val-02": "an object that the API server refuses",
}
LATE = {**SMALL["setup"]["pods"][0], "namespace": "y", "name": "c"}
EVERYBODY = {"default": "allow", "deny": []}


def small(name: str, *steps: dict[str, Any], **changes: Any) -> Case:
    return msgspec.convert({**SMALL, "id": name, "steps": steps, **changes}, Case)


COME_AND_GO = small(
    "come-and-go",
    {
        "actions": [
            {"op": "create-namespace", "namespace": "y", "labels": {}},
            {"op": "create-pod", "pod": LATE},
            DENY_ALL,
        ],
        "probes": [probe({"default": "deny", "allow": [["x/a", "y/c"], ["x/b", "y/c"]]}, 6)],
    },
    {
        "actions": [
            {"op": "delete-pod", "namespace": "x", "name": "b"},
            {"op": "delete", "kind": "NetworkPolicy", "namespace": "x", "name": "p"},
        ],
        "probes": [probe(EVERYBODY, 2)],
    },
    {
        "actions": [
            {"op": "delete-namespace", "namespace": "x"},
            {"op": "create-namespace", "namespace": "x", "labels": {}},
            {"op": "create-pod", "pod": SMALL["setup"]["pods"][1]},
        ],
        "probes": [probe(EVERYBODY, 2)],
    },
)
NODES = small(
    "nodes",
    {
        "actions": [DENY_ALL],
        "probes": [
            probe({"pairs": [["node/n1", "x/a", True], ["node/n2", "x/a", False]]}, 2),
        ],
    },
)
WRONG_DENY = small("wrong-deny", {"actions": [], "probes": [probe(NOBODY, 2)]})
WRONG_ALLOW = small("wrong-allow", {"actions": [DENY_ALL], "probes": [probe(EVERYBODY, 2)]})
OWN = (COME_AND_GO, NODES, WRONG_DENY, WRONG_ALLOW)


@pytest.fixture(scope="module")
def found(_no_stale_labs: None) -> dict[str, list[str]]:
    """What the runner says of each case."""
    shipped = read_folder(Path(__file__).parents[1] / "conformance" / "data")
    cases = [*(case for case in shipped if case.id in SHIPPED), *OWN]
    results: dict[str, list[str]] = {}

    def report(case: AnyCase, wrong: list[str]) -> None:
        results[case.id] = wrong

    asyncio.run(run(cases, f"{PREFIX}-cases", report))
    return results


@pytest.mark.parametrize("name", [*SHIPPED, COME_AND_GO.id, NODES.id])
def test_the_lab_does_as_the_case_says(found: dict[str, list[str]], name: str) -> None:
    assert found[name] == []


def test_who_gets_through_and_should_not_is_told(found: dict[str, list[str]]) -> None:
    assert sorted(found["wrong-deny"]) == [
        f"wrong-deny step 1 {pair} TCP 80 IPv{version}: expected deny, got connected (live)"
        for pair in ("x/a > x/b", "x/b > x/a")
        for version in (4, 6)
    ]


def test_who_does_not_get_through_and_should_is_told(found: dict[str, list[str]]) -> None:
    assert sorted(found["wrong-allow"]) == [
        f"wrong-allow step 1 {pair} TCP 80 IPv{version}: expected allow, got timed out (live)"
        for pair in ("x/a > x/b", "x/b > x/a")
        for version in (4, 6)
    ]

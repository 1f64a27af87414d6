"""Pages that runs are made of, or are made by: docs/install.md and docs/kubernetes-e2e.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.e2e import page, results
from tests.kubernetes.e2e.groups import GROUPS, group_of, why_left_out
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.guide import Guide, commands

TEXT = """\
Text, not a command.

    kubectl create configmap steppe \\
      --from-literal=HOST=192.0.2.10
    ip link delete x   # where there is one
    kubeadm init       # not run
"""


def test_a_page_s_commands_are_found_whole_and_with_what_it_says_of_them() -> None:
    assert [(each.text, each.run, each.place) for each in commands(TEXT)] == [
        ("kubectl create configmap steppe --from-literal=HOST=192.0.2.10", True, "laptop"),
        ("ip link delete x", True, "node"),
        ("kubeadm init", False, "laptop"),
    ]


def guide(ran: list[str]) -> Guide:
    def run(text: str, _: Path) -> str:
        ran.append(text)
        return "said"

    return Guide(dict.fromkeys(("node", "laptop", "here"), run), "198.51.100.1")


def test_a_command_of_the_install_page_is_run_with_the_cluster_s_address() -> None:
    ran: list[str] = []
    made = guide(ran)
    before = made.left
    assert made.run("helm install") == "said"
    assert ran == [
        "helm install steppe deploy/chart --namespace kube-system --set apiServer.host=198.51.100.1"
    ]
    assert len(made.left) == len(before) - 1


def test_a_command_that_the_install_page_has_not_is_an_error() -> None:
    with pytest.raises(HarnessError, match="has 0 commands that begin with helm reinstall"):
        guide([]).run("helm reinstall")


def spec(name: str, state: str, said: str = "", seconds: float = 1) -> dict[str, Any]:
    failure = {"Failure": {"Message": said}} if said else {}
    return {
        "ContainerHierarchyTexts": ["[sig-network] Services"],
        "LeafNodeType": "It",
        "LeafNodeText": name,
        "State": state,
        "RunTime": seconds * 1e9,
        **failure,
    }


def test_what_ginkgo_reports_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    specs = [
        spec("should work", "passed", seconds=2.4),
        spec("should break", "timedout", "too late\n  twice"),
        spec("should be elsewhere", "skipped", "only for a cloud"),
        spec("should not be asked for", "skipped"),
        spec("should speak SCTP", "skipped"),
        spec("should set up", "passed") | {"LeafNodeType": "BeforeSuite"},
        spec("other", "passed") | {"ContainerHierarchyTexts": ["[sig-node] Pods"]},
    ]
    report.write_text(json.dumps([{"SpecReports": specs}]))
    read = results.read(report)
    assert {name.rpartition("should ")[2]: row["result"] for name, row in read.items()} == {
        "work": "passed",
        "break": "failed",
        "be elsewhere": "skipped",
        "speak SCTP": "left out",
    }
    assert read["[sig-network] Services should break"]["said"] == "too late twice"
    assert {row["group"] for row in read.values()} == {"Services"}


@pytest.mark.parametrize(
    ("name", "group", "left_out"),
    [
        ("[sig-network] Netpol NetworkPolicy should x [Feature:NetworkPolicy]", "NetworkPolicy", 0),
        ("[sig-network] [Feature:IPv6DualStack] should have x", "Dual-stack", 0),
        ("[sig-network] Networking Granular Checks: Pods should x", "Granular", 0),
        ("[sig-network] Networking should check kube-proxy urls", "Networking", 0),
        ("[sig-network] EndpointSliceMirroring should x", "EndpointSlice", 0),
        ("[sig-network] LoadBalancers [Feature:LoadBalancer] should x", "others", 1),
        ("[sig-network] Netpol [Feature:SCTPConnectivity] should x", "NetworkPolicy", 1),
    ],
)
def test_a_test_belongs_to_one_group(name: str, group: str, left_out: int) -> None:
    assert (group_of(name), bool(why_left_out(name))) == (group, bool(left_out))
    assert group in GROUPS


def test_a_page_tells_what_came_of_each_test_and_why() -> None:
    rows = {
        "[sig-network] Services should work": ("passed", ""),
        "[sig-network] Services should break": ("failed", "a | in the text"),
        "[sig-network] Netpol should speak SCTP": ("left out", "the kernel has none"),
    }
    tests = {
        name: {"group": group_of(name), "result": result, "said": said, "seconds": 7}
        for name, (result, said) in rows.items()
    }
    made = page.made({"about": {"Kubernetes": "v1.36.3"}, "tests": tests}).splitlines()
    for line in (
        "| Services | 1 | 1 | 0 | 0 |",
        "| **all** | 1 | 1 | 0 | 1 |",
        "| Services should break | not known yet | a \\| in the text |",
        "| Netpol should speak SCTP | the kernel has none |",
        "| Services should work | 7 |",
    ):
        assert line in made


def test_the_page_of_results_is_made_of_those_that_are_kept() -> None:
    kept = results.kept()
    assert page.PAGE.exists() == bool(kept["tests"])
    assert not kept["tests"] or page.PAGE.read_text() == page.made(kept)


def test_every_failure_that_is_kept_has_a_reason() -> None:
    failed = [name for name, row in results.kept()["tests"].items() if row["result"] == "failed"]
    assert [name for name in failed if not page.reason(name)] == []

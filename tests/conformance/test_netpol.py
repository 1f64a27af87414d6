"""The shipped policy cases, and the runner itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.netpol import failures, main
from tests.conformance.netpol_cases import Case, NotUnderstood, ValidationCase, read_folder

CASES = list(read_folder(Path(__file__).parent / "data"))

SMALL: dict[str, Any] = {
    "id": "small",
    "suite": "s",
    "title": "t",
    "description": "d",
    "tags": [],
    "source": "here",
    "viaService": False,
    "denyMode": "any",
    "requiresFixedIPs": False,
    "setup": {
        "namespaces": [{"name": "x", "labels": {"kubernetes.io/metadata.name": "x"}}],
        "nodes": [
            {"name": "n1", "labels": {}, "ips": ["192.0.2.11", "2001:db8::11"]},
            {"name": "n2", "labels": {}, "ips": ["192.0.2.12", "2001:db8::12"]},
        ],
        "pods": [
            {
                "namespace": "x",
                "name": name,
                "labels": {"pod": name},
                "node": "n1",
                "ips": [f"10.244.1.{number}", f"fd00::{number}"],
                "ports": [{"port": 80, "protocol": "TCP", "name": "web"}],
            }
            for number, name in ((5, "a"), (6, "b"))
        ],
    },
    "steps": [],
}
DENY_ALL = {
    "op": "apply",
    "manifest": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"podSelector": {}},
    },
}
NOBODY = {"default": "deny", "allow": []}


def probe(expect: dict[str, Any], count: int, **changes: Any) -> dict[str, Any]:
    return {
        "protocol": "TCP",
        "port": 80,
        "family": "any",
        "expect": expect,
        "count": count,
        **changes,
    }


def folder_with(tmp_path: Path, *steps: dict[str, Any], **changes: Any) -> Path:
    case = {**SMALL, **changes, "steps": list(steps)}
    file = {"schema": "netcases/1", "cases": [case]}
    (tmp_path / "small.json").write_text(json.dumps(file))
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_spec_answers_as_the_case_says(case: Case | ValidationCase) -> None:
    assert failures(case) == []


def test_a_case_that_fails_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everybody = {"default": "allow", "deny": []}
    step = {"actions": [DENY_ALL], "probes": [probe(everybody, 2)]}
    assert main(["--cases", str(folder_with(tmp_path, step))]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "small step 1 x/b > x/a TCP 80 IPv4: expected allow, got deny (spec) (and 11 more)",
        "0 passed, 1 failed",
    ]


def test_pairs_are_checked_alone_and_nodes_may_be_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [["x/a", "x/b", False], ["node/n1", "x/a", True], ["node/n2", "x/a", False]]
    step = {
        "actions": [DENY_ALL],
        "probes": [probe({"pairs": pairs}, 3, port=None, portName="web")],
    }
    del step["probes"][0]["port"]
    assert main(["--cases", str(folder_with(tmp_path, step))]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


def test_namespaces_and_pods_come_and_go(tmp_path: Path) -> None:
    late = {**SMALL["setup"]["pods"][0], "namespace": "y", "name": "c", "ips": ["10.244.2.5"]}
    steps = [
        {
            "actions": [
                {"op": "create-namespace", "namespace": "y", "labels": {}},
                {"op": "create-pod", "pod": late},
                DENY_ALL,
            ],
            "probes": [
                probe(
                    {"default": "deny", "allow": [["x/a", "y/c"], ["x/b", "y/c"]]}, 6, family="IPv4"
                )
            ],
        },
        {
            "actions": [
                {"op": "delete-pod", "namespace": "x", "name": "b"},
                {"op": "delete", "kind": "NetworkPolicy", "namespace": "x", "name": "p"},
            ],
            "probes": [probe({"default": "allow", "deny": []}, 2, family="IPv4")],
        },
        {
            "actions": [{"op": "delete-namespace", "namespace": "x"}],
            "probes": [probe({"default": "allow", "deny": []}, 0, family="IPv4")],
        },
    ]
    assert main(["--cases", str(folder_with(tmp_path, *steps))]) == 0


@pytest.mark.parametrize(
    ("step", "changes", "message"),
    [
        ({"actions": [{"op": "explode"}], "probes": []}, {}, "explode"),
        ({"actions": [], "probes": [], "wait": 3}, {}, "unknown field `wait`"),
        ({"actions": [], "probes": []}, {"colour": "red"}, "unknown field `colour`"),
        ({"actions": [], "probes": [probe(NOBODY, 7)]}, {}, "covers 2 pairs, not 7"),
        ({"actions": [], "probes": [probe({"default": "deny"}, 2)]}, {}, "neither a default"),
        ({"actions": [], "probes": [probe(NOBODY, 2, portName="web")]}, {}, "port or portName"),
        (
            {"actions": [], "probes": [probe({"default": "deny", "allow": [["x/a", "x/z"]]}, 2)]},
            {},
            "not among the pairs",
        ),
        (
            {"actions": [{"op": "delete-pod", "namespace": "x", "name": "z"}], "probes": []},
            {},
            "x/z is not there",
        ),
        (
            {"actions": [{"op": "apply", "manifest": {"kind": "Ingress"}}], "probes": []},
            {},
            "a manifest of",
        ),
        (
            {
                "actions": [
                    {**DENY_ALL, "manifestTemplate": {"podSelector": "${cidr4 x/a 24}"}},
                ],
                "probes": [],
            },
            {},
            "does not render",
        ),
    ],
)
def test_what_is_not_understood_is_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    step: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    assert main(["--cases", str(folder_with(tmp_path, step, **changes))]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_schema_and_an_empty_folder_are_not_understood(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood, match="files there"):
        list(read_folder(tmp_path))
    (tmp_path / "odd.json").write_text('{"schema": "netcases/2", "cases": []}')
    with pytest.raises(NotUnderstood, match="odd"):
        list(read_folder(tmp_path))


def test_a_validation_case_fails_when_the_server_answers_otherwise() -> None:
    case = next(case for case in CASES if isinstance(case, ValidationCase))
    other = "accept" if case.expect == "reject" else "reject"
    turned = ValidationCase(
        case.id, case.suite, case.source, case.description, case.manifest, other
    )
    assert len(failures(turned)) == 1

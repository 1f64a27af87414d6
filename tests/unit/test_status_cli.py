"""`steppe status` and `show`, over agents that are sockets with ready answers."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from steppe.cli import status
from tests.unit.conftest import Start

Document = dict[str, Any]

WELL: Document = {
    "version": "1.2.3",
    "ready": True,
    "reason": "",
    "api": {"inSync": True, "lastError": "", "seen": {}},
    "fabric": "auto",
    "nodes": 3,
    "pods": 2,
    "entries": {"routes": 8, "elements": 71},
    "notInKernel": [],
    "pending": 0,
    "problems": [],
}
AWAY = WELL | {"api": {"inSync": False, "lastError": "GET /api/v1/nodes: refused", "seen": {}}}
LATE = WELL | {"notInKernel": [{"table": "routes", "key": "10.0.0.0/8", "state": "pending"}]}
NOT_READY = WELL | {"ready": False, "reason": "the kernel is being read"}
TWIN = {"object": "Service/shop/web", "field": "spec.ports", "message": "taken by another"}
WRONG = WELL | {"problems": [TWIN]}


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(status.status, arguments)


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (
            WELL,
            0,
            "node-a  ready    1.2.3      in sync  auto      3        2       79         0",
        ),
        (AWAY, 1, "node-a: changes in the API do not all come in: GET /api/v1/nodes: refused"),
        (LATE, 1, "node-a: routes 10.0.0.0/8 pending"),
        (NOT_READY, 1, "node-a: the kernel is being read"),
        (WRONG, 1, "Service/shop/web spec.ports: taken by another (seen by node-a)"),
    ],
)
def test_what_is_wrong_is_said_and_is_an_exit_code(
    start: Start, answer: Document, code: int, says: str
) -> None:
    start("node-a", answer)
    result = asked()
    assert says in result.output
    assert result.exit_code == code


def test_a_problem_that_several_see_is_told_once(start: Start) -> None:
    start("node-a", WRONG)
    start("node-b", WRONG)
    assert asked().output.count("taken by another") == 1
    assert "(seen by node-a, node-b)" in asked().output


def test_agents_that_have_hung_hide_no_other_and_take_the_time_of_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "STATUS_SECONDS", 0.5)
    for node in ("node-a", "node-b", "node-c"):
        start(node, None)
    start("node-d", WELL)
    result = asked()
    assert "node-d  ready" in result.output
    for node in ("node-a", "node-b", "node-c"):
        assert f"{node}: no agent answers at " in result.output
    assert result.exit_code == 1


def test_the_document_holds_every_answer_in_the_order_of_nodes(start: Start) -> None:
    start("node-b", WELL)
    start("node-a", WELL)
    document = json.loads(asked("-o", "json").output)
    assert document["schema"] == "steppe.status/v1"
    assert [node["node"] for node in document["nodes"]] == ["node-a", "node-b"]


def test_a_node_that_is_not_known_of_is_in_the_table_and_shows_nothing_that_is_old() -> None:
    old = {"node": "node-b", "reportedSecondsAgo": 400.0, "error": "the last report came 7 min ago"}
    new = WELL | {"node": "node-a", "reportedSecondsAgo": 12.3}
    table, *rest = status.lines([new, old])
    header, first, second = table.splitlines()
    assert header.split()[-1] == "REPORTED"
    assert first.endswith("12 s ago")
    assert second.split() == ["node-b", "not", "known", *["-"] * 8, "7", "min", "ago"]
    assert rest == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--kubeconfig", "k", "--lab", "l"), "give one of --kubeconfig and --lab"),
        (("--context", "c", "--lab", "l"), "give one of --kubeconfig and --lab"),
    ],
)
def test_one_cluster_at_a_time_is_asked_about(arguments: tuple[str, ...], says: str) -> None:
    result = asked(*arguments)
    assert says in result.output
    assert result.exit_code == 2

"""What agents report to the API, and what is made of it."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from steppe.agent import report as module
from steppe.agent.report import NoNamespaceError, Reporter
from steppe.cli.reported import read_reports
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.reports import (
    ANNOTATION,
    FRESH_SECONDS,
    MOST_CHARACTERS,
    MOST_ROWS,
    NAMESPACE,
    Lease,
    answer,
    lease_name,
    report,
)
from steppe.client.resources import LEASES, NODES
from tests.client.fake_api import FakeApi, fake_api, status

NODES_PATH, LEASES_PATH = NODES.path(), LEASES.path(NAMESPACE)
PROBLEM = {"object": "Service/shop/web", "field": "spec.ports", "message": "taken by another"}
LATE = {"table": "routes", "key": "10.0.0.0/8", "value": "dev x", "because": []}


def told(**fields: Any) -> dict[str, Any]:
    return {
        "schema": "steppe.agent-status/v1",
        "node": "node-a",
        "version": "1.2.3",
        "ready": True,
        "reason": "",
        "uptimeSeconds": 4.5,
        "api": {"inSync": True, "lastError": "", "seen": {"nodes": "17"}},
        "fabric": "auto",
        "nodes": 3,
        "pods": 2,
        "entries": {"routes": 4},
        "notInKernel": [],
        "problems": [],
        **fields,
    }


async def written(api: FakeApi, *nodes: str, **fields: Any) -> None:
    """Reports as the API has them after agents have written them."""
    for node in nodes:
        lease = report(told(node=node, **fields), f"uid-{node}")
        await api.put(LEASES_PATH, lease_name(node), metadata=lease["metadata"], spec=lease["spec"])


def seen(status: dict[str, Any] | None = None, **spec: Any) -> Lease:
    lease = report(status or told(), "u")
    lease["spec"] |= spec
    return msgspec.convert(lease, Lease)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def test_every_node_is_told_of_and_one_without_a_report_is_named() -> None:
    async with fake_api() as (api, client):
        for node in ("node-b", "node-a"):
            await api.put(NODES_PATH, node)
        await written(api, "node-a", "node-gone", problems=[PROBLEM])
        first, second = await read_reports(client)
    assert (first["node"], first["version"], first["problems"]) == ("node-a", "1.2.3", [PROBLEM])
    assert -2 < first["reportedSecondsAgo"] < 60
    assert second["node"] == "node-b"
    assert second["error"].startswith("no report: its agent does not run")


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0, None),
        (FRESH_SECONDS - 1, None),
        (FRESH_SECONDS + 1, "the last report came 3 min ago"),
        (7 * 3600, "the last report came 7 h ago"),
        (-30, None),
        (-90, "the report is 90 s ahead: the node's clock is wrong"),
    ],
)
def test_a_report_is_believed_for_as_long_as_it_is_fresh(seconds: int, error: str | None) -> None:
    found = answer("node-a", seen(), now() + dt.timedelta(seconds=seconds))
    assert found.get("error", "").startswith(error or "")
    assert ("error" in found) is (error is not None)
    assert ("ready" in found) is (error is None)


@pytest.mark.parametrize(
    "lease",
    [
        seen(renewTime=None),
        seen(renewTime="yesterday"),
        seen(renewTime="2026-01-01T00:00:00"),
        seen(leaseDurationSeconds=None),
        seen(told(node="node-b")),
        seen(told(schema="steppe.agent-status/v9")),
    ],
)
def test_a_report_that_cannot_be_read_is_no_report(lease: Lease) -> None:
    found = answer("node-a", lease, now())
    assert found["error"]
    assert "ready" not in found


def test_a_report_is_small_and_says_what_it_leaves_out() -> None:
    many = [{**PROBLEM, "message": "m" * 9999} for _ in range(MOST_ROWS + 7)]
    refused = [{**LATE, "state": "failed: no"}]
    lease = report(told(problems=many, notInKernel=refused), "u")
    held = json.loads(lease["metadata"]["annotations"][ANNOTATION])
    assert len(held["problems"]) == MOST_ROWS
    assert len(held["problems"][0]["message"]) == MOST_CHARACTERS
    assert held["leftOut"] == 7
    assert [row["state"] for row in held["notInKernel"]] == ["failed: no"]
    assert "uptimeSeconds" not in held
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "u"}
    assert lease["metadata"]["ownerReferences"] == [owner]  # deleted with its Node


def test_the_name_of_a_report_is_one_the_api_takes() -> None:
    assert lease_name("node-a") == "steppe-agent-node-a"
    long = ["n" * 253, "n" * 252 + "m"]
    assert all(len(lease_name(node)) <= 253 for node in long)
    assert len({lease_name(node) for node in long}) == 2


class Reporting:
    def __init__(self, client: Client) -> None:
        self.signs = "well"
        self.asked = 0
        self.reporter = Reporter(client, "node-a", self._status, lambda: self.signs)

    def _status(self) -> dict[str, Any]:
        self.asked += 1
        return told()


async def test_an_agent_reports_when_something_changes_and_else_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "node-a")
        await api.put(LEASES_PATH, lease_name("node-a"))
        it = Reporting(client)
        for _ in range(3):
            await it.reporter.look()
        assert it.asked == 1
        it.signs = "ill"
        await it.reporter.look()
        assert it.asked == 2
        monkeypatch.setattr(module.time, "monotonic", lambda: 1e12)
        await it.reporter.look()
        assert it.asked == 3
        lease = api.objects[LEASES_PATH][lease_name("node-a")]
    assert lease["spec"]["leaseDurationSeconds"] == FRESH_SECONDS


async def test_an_agent_with_a_wrong_node_name_writes_nothing() -> None:
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "node-b")
        await Reporting(client).reporter.look()
        assert [request.method for request in api.requests] == ["GET"]


async def test_a_refused_report_is_an_error_and_an_api_that_is_away_is_none() -> None:
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "node-a")
        refusal = status(403, "Forbidden", "no leases")
        api.refuse = lambda request: (
            web.json_response(refusal, status=403) if request.method == "PATCH" else None
        )
        it = Reporting(client)
        with pytest.raises(ApiError, match="no leases"):
            await it.reporter.look()
    await it.reporter.look()


async def test_a_missing_namespace_is_told_with_the_cure() -> None:
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "node-a")
        with pytest.raises(NoNamespaceError, match="kubectl create namespace steppe-status"):
            await Reporting(client).reporter.look()

"""`steppe sysdump`: what is in the archive, what is not, and who may read it."""

import asyncio
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from steppe.cli import pods, sysdump_parts
from steppe.cli.main import main
from steppe.client.reports import NAMESPACE, lease_name, report
from steppe.client.resources import EVENTS, LEASES, NODES, PODS
from tests.client.fake_api import FakeApi, fake_api, status
from tests.client.test_reports import told
from tests.manifests.test_shareable import SECRET, pod
from tests.unit.conftest import Start

LOG = "ready\n"


def dumped(folder: Path, *arguments: str) -> tuple[Result, dict[str, bytes]]:
    """The command's result, and the archive's files without the folder they are all in."""
    path = folder / "dump.tar.gz"
    result = CliRunner().invoke(main, ["sysdump", "--to", str(path), *arguments])
    if not path.exists():
        return result, {}
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        members = {m.name.removeprefix("dump/"): archive.extractfile(m) for m in archive}
        return result, {name: file.read() for name, file in members.items() if file}


def kubeconfig(folder: Path, url: str) -> str:
    path = folder / "config"
    cluster = {"name": "a", "cluster": {"server": url}}
    context = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    user = {"name": "a", "user": {"token": SECRET}}
    document = {"current-context": "a", "clusters": [cluster], "contexts": [context]}
    path.write_text(json.dumps(document | {"users": [user]}))
    return str(path)


async def filled(api: FakeApi) -> None:
    """A cluster of one node, its agent's pod and report, and a pod with secrets."""
    await api.put(NODES.path(), "node-a")
    lease = report(told(), "u")
    await api.put(
        LEASES.path(NAMESPACE), lease_name("node-a"), metadata=lease["metadata"], spec=lease["spec"]
    )
    web_pod = pod("web", 1, "web")
    await api.put(PODS.path(), "web", **{k: web_pod[k] for k in ("metadata", "spec", "status")})
    for name, writer in (("e1", "steppe-agent"), ("e2", "kubelet")):
        await api.put(EVENTS.path(), name, reportingComponent=writer, message=writer)


def with_agents(api: FakeApi, log: Callable[[web.Request], web.Response]) -> None:
    """Has the API answer for one agent pod that was restarted once, and for its logs."""
    containers = [{"name": "agent", "restartCount": 1}]
    agents = {
        "metadata": {"name": "steppe-agent-x", "namespace": "kube-system"},
        "spec": {"nodeName": "node-a"},
        "status": {"containerStatuses": containers},
    }

    def refuse(request: web.Request) -> web.Response | None:
        if request.path.endswith("/log"):
            return log(request)
        if request.path == PODS.path() and "labelSelector" in request.query:
            return web.json_response({"metadata": {}, "items": [agents]})
        return None

    api.refuse = refuse


def said(request: web.Request) -> web.Response:
    before = "before " if request.query["previous"] == "true" else ""
    return web.Response(text=before + LOG)


class InPod:
    node = "node-a"

    def ask(self, what: str) -> dict[str, str]:
        return {"asked": what}


async def test_a_clusters_objects_reports_answers_and_logs_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "agents_of", lambda *_: [InPod()])
    async with fake_api() as (api, _):
        await filled(api)
        with_agents(api, said)
        config = kubeconfig(tmp_path, api.url)
        result, files = await asyncio.to_thread(dumped, tmp_path, "--kubeconfig", config)
    assert result.exit_code == 0, result.output
    assert sorted(files) == [
        "about.json",
        "events.json",
        "nodes/node-a/agent-before.log",
        "nodes/node-a/agent.log",
        "nodes/node-a/audit.json",
        "nodes/node-a/denied.json",
        "nodes/node-a/report.json",
        "nodes/node-a/show.json",
        "nodes/node-a/status.json",
        "objects/Node.json",
        "objects/Pod.json",
    ]
    assert files["nodes/node-a/agent-before.log"] == b"before ready\n"
    assert [each["message"] for each in json.loads(files["events.json"])["items"]] == [
        "steppe-agent"
    ]
    assert json.loads(files["about.json"])["unread"] == []
    assert SECRET.encode() not in b"".join(files.values())


async def test_what_we_may_not_read_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    def forbidden(_: web.Request) -> web.Response:
        return web.json_response(status(403, "Forbidden", "pods/log is forbidden"), status=403)

    async with fake_api() as (api, _):
        await filled(api)
        with_agents(api, forbidden)
        config = kubeconfig(tmp_path, api.url)
        result, files = await asyncio.to_thread(dumped, tmp_path, "--kubeconfig", config)
    assert result.exit_code == 1
    assert "not in it: nodes/node-a/agent.log: " in result.output
    assert "objects/Pod.json" in files
    assert [each["what"] for each in json.loads(files["about.json"])["unread"]] == [
        "nodes/node-a/agent.log",
        "nodes/node-a/agent-before.log",
        "nodes/node-a, from status on",
    ]


def test_agents_on_this_machine_are_asked_and_a_silent_one_is_named(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("node-a", {"ready": True})
    log = tmp_path / "agent.log"
    log.write_text(LOG)
    logs = {"agent/node-a": str(log), "agent/node-b": str(tmp_path / "none"), "api": str(log)}
    record = SimpleNamespace(kubeconfig=str(tmp_path / "none"), logs=logs)
    monkeypatch.setattr(sysdump_parts, "lab_record", lambda _: record)
    result, files = dumped(tmp_path, "--lab", "lab")
    assert json.loads(files["nodes/node-a/audit.json"]) == {"ready": True, "node": "node-a"}
    assert files["nodes/node-a/agent.log"] == files["logs/api.log"] == LOG.encode()
    unread = [each["what"] for each in json.loads(files["about.json"])["unread"]]
    assert unread == ["objects", "nodes/node-b/agent.log"]
    assert result.exit_code == 1


def test_an_archive_that_exists_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "dump.tar.gz").write_bytes(b"mine")
    result = CliRunner().invoke(main, ["sysdump", "--to", str(tmp_path / "dump.tar.gz")])
    assert result.exit_code == 2
    assert "exists; name another with --to FILE" in result.output
    assert (tmp_path / "dump.tar.gz").read_bytes() == b"mine"


def test_a_folder_that_is_not_there_is_a_clear_error_and_leaves_nothing(
    start: Start, tmp_path: Path
) -> None:
    start("node-a", {"ready": True})
    result = CliRunner().invoke(main, ["sysdump", "--to", str(tmp_path / "no" / "x.tar.gz")])
    assert result.exit_code == 2
    assert "No such file or directory" in result.output
    assert not list(tmp_path.glob("**/*.partial"))


@pytest.mark.parametrize("command", [("sysdump", "--to", "x.tar.gz"), ("status",), ("audit",)])
def test_a_kubeconfig_that_is_not_there_is_bad_usage(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*command, "--kubeconfig", "no-such"])
    assert "cannot read kubeconfig no-such" in result.output
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())

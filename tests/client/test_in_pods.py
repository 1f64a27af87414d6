"""Agents asked in their pods: by an API server whose `exec` runs the program beside an agent."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from click.testing import CliRunner, Result

from steppe.agent.ask import AskError
from steppe.agent.relay import MODULE
from steppe.agent.server import AgentServer
from steppe.cli import show
from steppe.cli.pods import LABELS, InPod, agents_of
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.exec import Ran
from steppe.client.resources import NODES, PODS
from tests.client.fake_api import FakeApi, fake_api, status

NAMESPACE = "kube-system"
WELL = {"entries": 3, "differences": [], "flows": [], "others": [], "repaired": False}
BESIDE = """
import sys
from pathlib import Path
from steppe.agent import relay
relay.SOCKET = Path(sys.argv[1])
sys.exit(relay.main(sys.argv[2:]))
"""


class Answers:
    """An agent's answers: of addresses it tells how many it was asked of."""

    def __init__(self, node: str) -> None:
        self.node = node

    async def tables(self, addresses: frozenset[Any]) -> dict[str, Any]:
        return {"node": self.node, "addresses": len(addresses)}


class Audit:
    def __init__(self, node: str) -> None:
        self.node = node

    async def look(self, *, repair: bool) -> dict[str, Any]:
        return {"node": self.node, **WELL, "repaired": repair}


class Cluster:
    """Nodes with an agent each, whose pods' `exec` runs the program that asks the agent."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.spoken: list[str] = []
        self.cut = False
        api.exec = self._exec

    async def node(self, name: str, **pod: Any) -> None:
        await self.api.put(NODES.path(), name)
        if pod:
            metadata = {"name": f"agent-{name}", "namespace": NAMESPACE} | pod.pop("metadata", {})
            spec = {"nodeName": name}
            await self.api.put(PODS.path(), f"agent-{name}", metadata=metadata, spec=spec, **pod)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        if request.headers["Accept"] != "*/*":  # as kube-apiserver 1.36 does
            return web.Response(status=406)
        answering = web.WebSocketResponse(protocols=("v4.channel.k8s.io", "v5.channel.k8s.io"))
        await answering.prepare(request)
        self.spoken.append(answering.ws_protocol or "")
        pod = request.path.split("/")[-2]
        words = request.query.getall("command")
        assert request.query["container"] == "agent"
        assert words[:4] == ["/usr/bin/python3", "-P", "-m", MODULE]
        given = b""
        if request.query.get("stdin") == "true":
            message = await answering.receive()
            assert message.type is WSMsgType.BINARY
            assert message.data[0] == 0
            given = message.data[1:]
        argv = (sys.executable, "-P", "-c", BESIDE, str(self.folder / pod), *words[4:])
        ran = await asyncio.create_subprocess_exec(*argv, stdin=-1, stdout=-1, stderr=-1)
        out, err = await ran.communicate(given)
        half = len(out) // 2
        for channel, part in ((1, out[:half]), (2, err), (1, out[half:])):
            await answering.send_bytes(bytes([channel]) + part)
        if not self.cut:
            ended = {"status": "Failure" if ran.returncode else "Success", "message": "exit code"}
            await answering.send_bytes(b"\x03" + json.dumps(ended).encode())
        await answering.close()
        return answering


@contextlib.asynccontextmanager
async def cluster(tmp_path: Path, *running: str) -> AsyncIterator[Cluster]:
    async with contextlib.AsyncExitStack() as stack:
        api, _ = await stack.enter_async_context(fake_api())
        made = Cluster(api, tmp_path)
        api.objects[NODES.path()] = {}
        api.objects[PODS.path()] = {}
        for name in running:
            await made.node(name, status={"phase": "Running"})
            server = AgentServer(tmp_path / f"agent-{name}", Answers(name), Audit(name), None)
            await stack.enter_async_context(server.serving())
        yield made


def kubeconfig(made: Cluster) -> str:
    path = made.folder / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": made.api.url}}],
        "users": [{"name": "c", "user": {"token": "s3cr3t"}}],
    }
    path.write_text(json.dumps(document))
    return str(path)


async def audited(made: Cluster, *arguments: str) -> Result:
    argv = ("--kubeconfig", kubeconfig(made), *arguments)
    return await asyncio.to_thread(CliRunner().invoke, show.audit, argv)


async def found(made: Cluster) -> list[InPod]:
    return await asyncio.to_thread(agents_of, kubeconfig(made), "")


async def test_every_node_is_audited_from_afar(tmp_path: Path) -> None:
    async with cluster(tmp_path, "node-b", "node-a") as made:
        result = await audited(made, "-o", "json")
    assert result.exit_code == 0, result.output
    nodes = json.loads(result.stdout)["nodes"]
    assert [(each["node"], each["entries"]) for each in nodes] == [("node-a", 3), ("node-b", 3)]
    assert made.spoken == ["v5.channel.k8s.io"] * 2
    asked = [each for each in made.api.requests if each.path == PODS.path()]
    assert [each.query["labelSelector"] for each in asked] == [LABELS]


async def test_a_repair_is_passed_on_and_one_node_may_be_chosen(tmp_path: Path) -> None:
    async with cluster(tmp_path, "node-a", "node-b") as made:
        result = await audited(made, "--repair", "--node", "node-b", "-o", "json")
    (only,) = json.loads(result.stdout)["nodes"]
    assert (only["node"], only["repaired"]) == ("node-b", True)


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({}, "node-z: no pod of Steppe's agent is on it"),
        (
            {"status": {"phase": "Pending"}},
            "node-z: its agent's pod kube-system/agent-node-z is Pending",
        ),
        (
            {"status": {"phase": "Running"}, "metadata": {"deletionTimestamp": "2026-01-01"}},
            "node-z: its agent's pod kube-system/agent-node-z is being deleted",
        ),
        ({"status": {"phase": "Running"}}, "node-z: no agent answers at"),
    ],
)
async def test_a_node_whose_agent_cannot_be_asked_is_named_and_not_well(
    tmp_path: Path, pod: dict[str, Any], says: str
) -> None:
    async with cluster(tmp_path, "node-a") as made:
        await made.node("node-z", **pod)
        result = await audited(made)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "node-a: 3 entries, all as they shall be" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--node", "elsewhere"), "the cluster has no node elsewhere"),
        (("--lab", "lab"), "give one of --kubeconfig and --lab"),
    ],
)
async def test_what_cannot_be_asked_is_a_usage_error(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    async with cluster(tmp_path, "node-a") as made:
        result = await audited(made, *arguments)
    assert result.exit_code == 2
    assert says in result.output


async def test_a_cluster_without_agents_in_pods_is_said_to_have_none(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        await made.node("node-a")
        result = await audited(made)
    assert result.exit_code == 2
    assert "no pods of Steppe's agent" in result.output


async def test_a_question_with_a_body_reaches_the_agent_whole(tmp_path: Path) -> None:
    addresses = [f"10.{high}.{low}.1" for high in range(40) for low in range(250)]
    async with cluster(tmp_path, "node-a") as made:
        (agent,) = await found(made)
        said = await asyncio.to_thread(
            lambda: agent.ask("tables", method="POST", body={"addresses": addresses})
        )
    assert said == {"node": "node-a", "addresses": 10_000}


async def test_an_agent_of_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    async with cluster(tmp_path, "node-a") as made:
        (agent,) = await found(made)
    ran = Ran(b"", b"/usr/bin/python3: No module named steppe.agent.relay\n", "exit code 1")
    with pytest.raises(AskError, match=r"No module named .*; is its image of this version"):
        agent.read(ran)


def _refuses(code: int) -> Callable[[web.Request], web.Response | None]:
    def refuse(request: web.Request) -> web.Response | None:
        if not request.path.endswith("/exec"):
            return None
        return web.json_response(status(code, "Forbidden"), status=code)

    return refuse


async def test_who_may_not_is_told_what_it_takes(tmp_path: Path) -> None:
    async with cluster(tmp_path, "node-a") as made:
        made.api.refuse = _refuses(403)
        (agent,) = await found(made)
        with pytest.raises(ApiError, match="get and create of pods/exec") as refused:
            await asyncio.to_thread(agent.ask, "audit")
    assert refused.value.status == 403


async def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    async with cluster(tmp_path, "node-a") as made:
        made.cut = True
        (agent,) = await found(made)
        with pytest.raises(UnreachableError, match="broke off"):
            await asyncio.to_thread(agent.ask, "audit")

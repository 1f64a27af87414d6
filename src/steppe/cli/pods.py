"""A cluster's agents, asked in their pods through its API: nobody has to be on a node."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
import msgspec

from steppe.agent.ask import TIMEOUT_SECONDS, AskError
from steppe.agent.relay import MODULE
from steppe.cli.agents import ask_all
from steppe.cli.source import config_of
from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.exec import Container, Ran, run_in_pod
from steppe.client.resources import NODES, PODS

LABELS = "app.kubernetes.io/name=steppe,app.kubernetes.io/component=agent"
"""Of the agents' pods (deploy/chart)."""
_CONTAINER = "agent"
_MARGIN_SECONDS = 10.0
"""What the way through the API server may add to the agent's own time."""
_NAME = "steppe-cli"


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str = ""
    deletion_timestamp: str | None = msgspec.field(default=None, name="deletionTimestamp")


class _Spec(msgspec.Struct, frozen=True):
    node: str = msgspec.field(default="", name="nodeName")


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def runs(self) -> bool:
        return self.status.phase == "Running" and self.metadata.deletion_timestamp is None


class InPod(NamedTuple):
    """The agent of a node; without a pod, `why` says what is amiss."""

    config: Config
    node: str
    where: Container | None = None
    why: str = ""

    def __str__(self) -> str:
        return str(self.where or self.node)

    def ask(
        self,
        what: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: dict[str, Any] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """As `steppe.agent.ask.ask`, from a program in its pod."""
        if query:
            raise AskError(f"{self}: a question with a query is not passed on")
        words = ["/usr/bin/python3", "-P", "-m", MODULE, method, what, str(timeout)]
        line = b"" if body is None else msgspec.json.encode(body) + b"\n"
        words += [] if body is None else ["body"]
        if self.where is None:
            raise AskError(self.why)
        return asyncio.run(self._run(self.where, words, line, timeout + _MARGIN_SECONDS))

    async def _run(
        self, where: Container, words: list[str], line: bytes, seconds: float
    ) -> dict[str, Any]:
        async with Client(self.config, _NAME) as client:
            ran = await run_in_pod(client, where, words, line, seconds=seconds)
        return self.read(ran)

    def read(self, ran: Ran) -> dict[str, Any]:
        """The answer in what a program printed; AskError if it is none."""
        try:
            return msgspec.json.decode(ran.stdout, type=dict[str, Any])
        except msgspec.MsgspecError:
            said = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
            why = said[-1] if said else ran.failure or "no answer"
            raise AskError(f"{self}: {why}; is its image of this version?") from None


def agents_of(kubeconfig: str, context: str) -> list[InPod]:
    """One for each Node, sorted by name; none if the cluster has no pod of Steppe's agent.

    SteppeError if the API cannot be read.
    """
    config = config_of(kubeconfig, context)
    nodes, pods = asyncio.run(_listed(config))
    if not pods:
        return []
    on = {pod.spec.node: pod for pod in sorted(pods, key=lambda pod: pod.runs)}
    return [_agent(config, node, on.get(node)) for node in sorted(nodes)]


async def _listed(config: Config) -> tuple[list[str], list[_Pod]]:
    async with Client(config, _NAME) as client:
        nodes, _ = await client.list(NODES)
        pods, _ = await client.list(PODS, label_selector=LABELS)
    return [node["metadata"]["name"] for node in nodes], msgspec.convert(pods, list[_Pod])


def _agent(config: Config, node: str, pod: _Pod | None) -> InPod:
    if pod is None:
        return InPod(config, node, why="no pod of Steppe's agent is on it")
    name, namespace = pod.metadata.name, pod.metadata.namespace
    if not pod.runs:
        why = "is being deleted" if pod.metadata.deletion_timestamp else f"is {pod.status.phase}"
        return InPod(config, node, why=f"its agent's pod {namespace}/{name} {why}")
    return InPod(config, node, Container(namespace, name, _CONTAINER))


def ask_in_pods(
    kubeconfig: str, context: str, node: str | None, what: str, *, method: str
) -> list[dict[str, Any]]:
    """Every node's answer, sorted by node; an error in place of a missing answer.

    A usage error if the cluster has no such node, or no pod of an agent.
    """
    found = agents_of(kubeconfig, context)
    if not found:
        raise click.UsageError(
            f"the cluster has no pods of Steppe's agent (labels {LABELS}); where agents are no "
            "pods, ask on their nodes"
        )
    asked = [each for each in found if node in (None, each.node)]
    if not asked:
        raise click.UsageError(f"the cluster has no node {node}")
    return ask_all(asked, [each.node for each in asked], what, method=method)

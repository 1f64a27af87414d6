"""`--actual`: agents tell what their kernels hold, and the walk goes by that."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from steppe.agent.server import AgentServer
from steppe.cli.explain_actual import Kernels
from steppe.compile.node import compile_cluster
from steppe.explain.explain import Explainer
from steppe.explain.model import Explanation
from steppe.explain.steps import step_text
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Pod
from steppe.kube.policies import Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import Requirement, Selector
from steppe.net.address import IPAddress, host_prefix
from steppe.net.ports import PortRange
from steppe.settings import Settings
from steppe.state.document import KeyState, concerns, key_state_document
from steppe.state.node import Key, NodeState, Value, values
from steppe.state.route import RouteKey, route_by
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1), node_at(2)]
CLIENT, SERVER, OTHER = pod_on(NODES[0], 1), pod_on(NODES[1], 1), pod_on(NODES[2], 1)


def lets_all_in(pod: Pod) -> NetworkPolicy:
    """Everyone of the namespace may reach the pod on port 80."""
    own = Selector((Requirement("name", "In", frozenset((pod.name,))),))
    rule = Rule("spec.ingress[0]", (Pods(within="default"),), (PortRange("TCP", 80, 80),))
    return NetworkPolicy("default", pod.name, own, frozenset({"ingress"}), (rule,))


# The client's identity is made of both policies' rules; its way to the server meets only one.
NEIGHBOUR = pod_on(NODES[1], 2)
PODS = [
    msgspec.structs.replace(pod, labels={"name": pod.name})
    for pod in (CLIENT, SERVER, NEIGHBOUR, OTHER)
]
POLICIES = [lets_all_in(SERVER), lets_all_in(NEIGHBOUR)]
CLUSTER = cluster_of(NODES, PODS, [Namespace("default")], POLICIES)
SETTINGS = Settings(fabric="direct")
STATES, _ = compile_cluster(SETTINGS, CLUSTER)
DETOUR = (NODES[0], NODES[2], NODES[1])
TO_SERVER = RouteKey(NODES[1].networks[0])


class Agent:
    """Answers as an agent does, of a kernel that holds `actual`."""

    def __init__(self, node: str, actual: dict[Key, Value]) -> None:
        self.node, self.state, self.actual = node, STATES[node], actual

    async def status(self) -> dict[str, Any]:
        return {"node": self.node}

    async def tables(self, wanted: frozenset[IPAddress]) -> dict[str, Any]:
        held = [
            KeyState(key, self.actual.get(key), *((e.value, e.because) if e else (None,)))
            for key in {*self.actual, *self.state}
            if concerns(key, wanted)
            for e in (self.state.get(key),)
        ]
        return {"node": self.node, "entries": [key_state_document(each) for each in held]}


async def explained(tmp_path: Path, kernels: dict[str, dict[Key, Value]]) -> Explanation:
    """The client to the server, with an agent on each of the nodes named."""

    def desired(part: Any) -> dict[str, NodeState]:
        return compile_cluster(SETTINGS, part)[0]

    def ask() -> Explanation:
        found = Kernels([tmp_path / name for name in kernels], CLUSTER.nodes, desired)
        explainer = Explainer(CLUSTER, found.in_tables)
        flow, _ = explainer.flow("default/node-a-pod-1", "default/node-b-pod-1", "80")
        return found.marked(explainer.explain(flow, family=4))

    async with AsyncExitStack() as stack:
        for name, actual in kernels.items():
            server = AgentServer(tmp_path / name, Agent(name, actual), None, None)
            await stack.enter_async_context(server.serving())
        return await asyncio.to_thread(ask)


def sound() -> dict[str, dict[Key, Value]]:
    return {node.name: values(STATES[node.name]) for node in NODES}


async def test_kernels_that_are_as_they_shall_be_give_the_same_path(tmp_path: Path) -> None:
    said = await explained(tmp_path, sound())
    assert (said.kind, said.basis) == ("allowed", "kernels")
    assert said.differences == said.conflicts == said.notes == ()


async def test_a_route_that_is_gone_is_named_with_its_cause(tmp_path: Path) -> None:
    kernels = sound()
    del kernels["node-a"][TO_SERVER]
    said = await explained(tmp_path, kernels)
    assert said.kind == "denied"
    assert said.conflicts
    (only,) = said.differences
    assert (only.node, only.entry, only.actual) == ("node-a", "route 10.244.2.0/24 metric 1024", "")
    assert [str(cause) for cause in only.because] == ["Node/node-b spec.podCIDRs[0]"]


async def test_a_route_of_ours_that_nothing_asks_for_is_walked_and_named(tmp_path: Path) -> None:
    kernels = sound()
    astray = RouteKey(host_prefix(SERVER.addresses[0]))
    kernels["node-a"][astray] = route_by("eth0", NODES[2].addresses[0])
    said = await explained(tmp_path, kernels)
    assert [(each.entry, each.desired) for each in said.differences] == [(f"route {astray}", "")]
    path = said.cases[0].paths[0]
    assert step_text(path.steps[1].what) == f"{astray} via {NODES[2].addresses[0]} dev eth0"
    assert [step.node for step in path.steps if step.stage == "route"] == [n.name for n in DETOUR]
    assert said.kind == "allowed"


async def test_what_lets_the_sender_in_is_named_when_it_is_gone(tmp_path: Path) -> None:
    kernels = sound()
    held = {str(key): key for key in kernels["node-b"]}
    identity = kernels["node-b"][held[f"@ingress_peer4 {CLIENT.addresses[0]}"]]
    number = str(identity).removeprefix(": ")
    gone = f"@ingress_allowed4 {number} . {SERVER.addresses[0]}"
    del kernels["node-b"][held[gone]]
    said = await explained(tmp_path, kernels)
    assert said.kind == "denied"
    (only,) = said.differences
    assert (only.node, only.entry, only.actual) == ("node-b", f"element {gone}", "")


async def test_what_another_flow_meets_is_not_told(tmp_path: Path) -> None:
    kernels = sound()
    del kernels["node-a"][RouteKey(NODES[2].networks[0])]
    assert (await explained(tmp_path, kernels)).differences == ()


async def test_a_node_whose_agent_is_elsewhere_is_taken_to_be_sound_and_that_is_said(
    tmp_path: Path,
) -> None:
    kernels = sound()
    del kernels["node-b"]
    said = await explained(tmp_path, kernels)
    assert said.kind == "allowed"
    (note,) = said.notes
    assert note.startswith("node-b is taken to be as it shall be")

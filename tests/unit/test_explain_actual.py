"""`--actual`: agents tell what their kernels hold, and the walk goes by that."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from steppe.agent.server import AgentServer
from steppe.cli.agents import OnThisMachine
from steppe.cli.explain_actual import Kernels
from steppe.cli.explain_text import text
from steppe.compile.node import compile_cluster
from steppe.explain.document import document
from steppe.explain.explain import Explainer
from steppe.explain.model import Explanation
from steppe.explain.steps import step_text
from steppe.explain.tables import walk_of
from steppe.findings.finding import Affected, Finding, finding_document
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Pod
from steppe.kube.policies import Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import Requirement, Selector
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress, host_prefix
from steppe.net.ports import PortRange
from steppe.settings import Settings
from steppe.state.claim import Entry
from steppe.state.document import (
    KeyState,
    concerns,
    key_state_document,
    surroundings_document,
)
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeState, Value, values
from steppe.state.route import Route, RouteKey, route_by
from steppe.state.surroundings import OtherRoute, Surroundings
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


NOTHING = Surroundings()


class Agent:
    """Answers as an agent does, of a kernel that holds `actual`."""

    def __init__(
        self,
        node: str,
        actual: dict[Key, Value],
        around: Surroundings = NOTHING,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        self.node, self.state, self.actual = node, STATES[node], actual
        self.around = around
        self.findings = findings

    async def status(self) -> dict[str, Any]:
        return {"node": self.node}

    async def tables(self, wanted: frozenset[IPAddress]) -> dict[str, Any]:
        held = [
            KeyState(key, self.actual.get(key), *((e.value, e.because) if e else (None,)))
            for key in {*self.actual, *self.state}
            if concerns(key, wanted)
            for e in (self.state.get(key),)
        ]
        return {
            "node": self.node,
            "entries": [key_state_document(each) for each in held],
            "surroundings": surroundings_document(self.around),
            "findings": [finding_document(each) for each in self.findings],
        }


async def explained(
    tmp_path: Path,
    kernels: dict[str, dict[Key, Value]],
    beside: Mapping[str, tuple[Surroundings, tuple[Finding, ...]]] = MappingProxyType({}),
    port: str = "80",
) -> Explanation:
    """The client to the server, with an agent on each of the nodes named."""

    def desired(part: Any) -> dict[str, NodeState]:
        return compile_cluster(SETTINGS, part)[0]

    def ask() -> Explanation:
        agents = [OnThisMachine(tmp_path / name) for name in kernels]
        found = Kernels(agents, CLUSTER.nodes, desired)
        explainer = Explainer(CLUSTER, found.in_tables)
        flow, _ = explainer.flow("default/node-a-pod-1", "default/node-b-pod-1", port)
        return found.marked(explainer.explain(flow, family=4))

    async with AsyncExitStack() as stack:
        for name, actual in kernels.items():
            agent = Agent(name, actual, *beside.get(name, ()))
            server = AgentServer(tmp_path / name, agent, None, None)
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
    assert said.kind == "doubtful"
    assert "but on node-b its kernel: was not read" in said.verdict
    (note,) = said.notes
    assert note.startswith("node-b is taken to be as it shall be")


async def test_another_s_route_is_walked_and_stops_the_packet(tmp_path: Path) -> None:
    black = OtherRoute(RouteKey(host_prefix(SERVER.addresses[0]), metric=0), Route("blackhole"))
    beside = {"node-a": (Surroundings(routes=(black,)), ())}
    said = await explained(tmp_path, sound(), beside)
    assert said.kind == "denied"
    assert f"node-a drops it, by another program's route {black.key} blackhole" in said.verdict


DNAT = Finding(
    "packet rule",
    "ip nat pre (hook prerouting): tcp dport 80 dnat to 192.0.2.9",
    "sends what comes in on TCP port 80 to another address",
    "ask who made it",
    affects=(Affected(protocol="tcp", ports=((80, 80),), answers=False),),
)
OTHER_PORT = msgspec.structs.replace(DNAT, affects=(Affected(protocol="tcp", ports=((81, 81),)),))


@pytest.mark.parametrize(
    ("node", "finding", "kind"),
    [
        ("node-b", DNAT, "doubtful"),
        ("node-b", OTHER_PORT, "allowed"),
        ("node-c", DNAT, "allowed"),
        ("node-b", msgspec.structs.replace(DNAT, walked=True), "allowed"),
    ],
    ids=["of this flow", "of another port", "on a node not on the way", "taken into the walk"],
)
async def test_what_may_stop_a_flow_on_its_nodes_makes_a_yes_doubtful(
    tmp_path: Path, node: str, finding: Finding, kind: str
) -> None:
    said = await explained(tmp_path, sound(), {node: (Surroundings(), (finding,))})
    assert said.kind == kind
    assert bool(said.doubts) == (kind == "doubtful")
    if said.doubts:
        assert said.verdict == (
            "By Steppe's tables, default/node-a-pod-1 reaches default/node-b-pod-1 on TCP 80; but "
            f"on node-b {DNAT.entry}: {DNAT.effect}."
        )
        assert document(said)["verdict"] == "doubtful"
        assert document(said)["doubts"][0]["entry"] == DNAT.entry
        assert DNAT.cure in text(said, 200)


OPENED = Finding(
    "own table",
    "inet steppe ingress-forward (hook forward): accept",
    "takes what goes through this node past the rest of this chain",
    "`steppe audit --repair`",
    walked=True,
    opens=True,
    affects=(Affected(),),
)


@pytest.mark.parametrize(
    ("finding", "kind"),
    [(OPENED, "doubtful"), (msgspec.structs.replace(OPENED, opens=False), "denied")],
    ids=["it opens", "it does not"],
)
async def test_what_may_open_what_policies_close_makes_a_no_doubtful(
    tmp_path: Path, finding: Finding, kind: str
) -> None:
    beside = {"node-b": (Surroundings(), (finding,))}
    said = await explained(tmp_path, sound(), beside, port="81")
    assert said.kind == kind
    assert said.verdict.startswith("By Steppe's tables, ") == (kind == "doubtful")


async def test_what_may_open_policies_says_nothing_of_a_flow_that_a_route_stops(
    tmp_path: Path,
) -> None:
    kernels = sound()
    del kernels["node-a"][TO_SERVER]
    said = await explained(tmp_path, kernels, {"node-a": (Surroundings(), (OPENED,))})
    assert (said.kind, said.doubts) == ("denied", ())


async def test_of_a_table_that_is_gone_the_table_is_named_and_not_each_element(
    tmp_path: Path,
) -> None:
    gone = Finding(
        "own table",
        "table inet steppe: not there",
        "all",
        "cure",
        opens=True,
        affects=(Affected(),),
    )
    kernels = sound()
    kernels["node-b"] = {k: v for k, v in kernels["node-b"].items() if k.table != ElementKey.table}
    said = await explained(tmp_path, kernels, {"node-b": (Surroundings(), (gone,))})
    assert [(each.node, each.entry, each.desired) for each in said.differences] == [
        ("node-b", "table inet steppe", "there")
    ]
    assert "node-b: table inet steppe is not there, shall be there" in text(said, 200)


def test_a_flow_that_is_led_to_somebody_else_does_not_reach_whom_it_was_for() -> None:
    vip, stranger = ip_address("10.96.0.10"), ip_address("198.51.100.99")
    endpoint = (Endpoint(SERVER.addresses[0], "node-b"),)
    cluster = cluster_of(
        NODES,
        [CLIENT, SERVER],
        services=[
            Service("default", "web", cluster_ips=(vip,), ports=(ServicePort("http", "TCP", 80),))
        ],
        slices=[EndpointSlice("default", "web-1", "web", (("http", "TCP", 8080),), endpoint)],
    )
    states = compile_cluster(SETTINGS, cluster)[0]
    ((key, entry),) = (
        each
        for each in states["node-a"].items()
        if isinstance(each[0], ElementKey) and each[0].set == "endpoint4"
    )
    elsewhere = Entry(Element((stranger, 8080)), entry.because)
    wrong = {**states, "node-a": {**states["node-a"], key: elsewhere}}
    explainer = Explainer(cluster, lambda part: walk_of(part, wrong))
    flow, _ = explainer.flow("default/node-a-pod-1", "svc/default/web:80")
    said = explainer.explain(flow, family=4)
    assert said.kind == "denied"
    assert f"it is led to {stranger}, where no object of the cluster leads it" in said.verdict

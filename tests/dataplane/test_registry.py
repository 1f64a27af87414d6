"""A data plane is a module's worth of functions and a line in the registry: shown by a toy."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

import msgspec
import pytest

from steppe.compile.incremental import NodeCompiler, Tables
from steppe.compile.node import compile_node
from steppe.compile.policy_tables import PolicyObjects, PolicyTables
from steppe.dataplane.registry import DATA_PLANES
from steppe.kube.cause import Problem
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import NetworkPolicy, Pods, PortRange, Rule
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import parse_address, parse_prefix
from steppe.policy.guards import Guard
from steppe.policy.numbers import NO_NUMBER
from steppe.policy.rulings import Ruling
from steppe.service.table import Frontend, ServiceTable
from steppe.settings import Settings
from steppe.state.claim import Claim
from steppe.state.workload import workload_of

PREFIXES = pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")])
NODE = Node("node-a", "", PREFIXES, (parse_address("192.0.2.11"),))
WEB = Service(
    "default",
    "web",
    cluster_ips=(parse_address("10.96.0.10"), parse_address("fd00:96::10")),
    ports=(ServicePort("", "TCP", 80),),
)
ENDPOINTS = tuple(
    EndpointSlice("default", name, "web", (("", "TCP", 8080),), (Endpoint(parse_address(text)),))
    for name, text in (("web-4", "10.244.1.5"), ("web-6", "fd00:244::5"))
)


class RowKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "toy"
    front: Frontend

    def __str__(self) -> str:
        return str(self.front)


class Row(msgspec.Struct, frozen=True):
    to: tuple[str, ...]


class Toy:
    """Renders each frontend to a row of addresses; affinity is more than it can do."""

    @staticmethod
    def nothing(*_: object) -> Iterator[object]:
        return iter(())

    own_node = other_node = pod = pod_outside = service_range = service_ranges = nothing

    @staticmethod
    def service(table: ServiceTable) -> Iterator[object]:
        for front, backends in table.rows:
            if backends.affinity_seconds:
                yield Problem(backends.cause, "no session affinity with the toy")
            to = tuple(f"{each.address} {each.port}" for each in backends.inside)
            yield Claim(RowKey(front), Row(to), backends.cause)

    @staticmethod
    def frontends(keys: Iterable[object], protocols: Iterable[str]) -> frozenset[Frontend]:
        wanted = frozenset(protocols)
        fronts = (key.front for key in keys if isinstance(key, RowKey))
        return frozenset(front for front in fronts if front.protocol in wanted)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings under which the toy serves Services: its line in the registry is all it needs."""
    monkeypatch.setitem(DATA_PLANES, "toy", Toy)
    return Settings(fabric="direct", data_plane="toy", policies=False)


def rows(state: dict) -> dict[str, tuple[str, ...]]:
    return {str(key): each.value.to for key, each in state.items() if isinstance(key, RowKey)}


EXPECTED = {"10.96.0.10 TCP 80": ("10.244.1.5 8080",), "fd00:96::10 TCP 80": ("fd00:244::5 8080",)}


def test_another_data_plane_renders_the_same_service_table(toy: Settings) -> None:
    state, problems = compile_node(toy, NODE, [NODE], (), [(WEB, ENDPOINTS)])
    assert rows(state) == EXPECTED
    assert problems == ()
    assert not [key for key in state if key.table == "elements"], "nothing of nft's"


def test_what_a_data_plane_cannot_do_is_a_problem_of_the_service(toy: Settings) -> None:
    sticky = msgspec.structs.replace(WEB, affinity_seconds=60)
    state, problems = compile_node(toy, NODE, [NODE], (), [(sticky, ENDPOINTS)])
    assert rows(state) == EXPECTED
    assert {problem.cause.ref for problem in problems} == {WEB.ref}


def test_an_event_costs_another_data_plane_only_what_it_changes(toy: Settings) -> None:
    compiler = NodeCompiler(toy, NODE.name)
    compiler.set_node(NODE)
    compiler.set_service(WEB)
    touched = [compiler.set_slice(each) for each in ENDPOINTS]
    assert [{str(key) for key in keys} for keys in touched] == [{front} for front in EXPECTED]
    assert rows(compiler.state) == EXPECTED
    fronts = Toy.frontends(compiler.state, ["TCP"])
    assert compiler.served(fronts).keys() == fronts


def test_the_service_table_is_the_same_whatever_serves_it(toy: Settings) -> None:
    ours, theirs = (NodeCompiler(s, NODE.name) for s in (Settings(fabric="direct"), toy))
    for compiler in (ours, theirs):
        compiler.set_node(NODE)
        compiler.set_service(WEB)
        for each in ENDPOINTS:
            compiler.set_slice(each)
    fronts = Toy.frontends(theirs.state, ["TCP"])
    assert DATA_PLANES["nftables"].frontends(ours.state, ["TCP"]) == fronts
    assert ours.served(fronts) == theirs.served(fronts)


class Judgement(msgspec.Struct, frozen=True):
    """A key of the toy that judges: who is judged, and what for."""

    table: ClassVar[str] = "toy-policy"
    what: str


class ToyJudge:
    """Renders guards, peers and rulings to lines."""

    @staticmethod
    def nothing(*_: object) -> Iterator[object]:
        return iter(())

    overfull = known = namespace = everywhere = block = nothing

    @staticmethod
    def guard(workload, guard: Guard, anyone: Ruling) -> Iterator[object]:
        yield Claim(Judgement(f"{guard.direction} {workload.name}"), Row(()), guard.because[0])
        yield from ToyJudge.allowed(NO_NUMBER, workload.addresses, anyone)

    @staticmethod
    def allowed(number: int, addresses, found: Ruling) -> Iterator[object]:
        to = tuple(f"{each.protocol} {each.first}-{each.last}" for each in found.ports)
        for own in addresses:
            key = Judgement(f"{found.direction} {number} to {own}")
            yield Claim(key, Row(to), found.because[0])

    @staticmethod
    def peer(direction, address, number: int, cause) -> object:
        return Claim(Judgement(f"{direction} peer {address}"), Row((str(number),)), cause)


def test_another_judge_renders_the_same_guards_peers_and_rulings() -> None:
    db = Pod("x", "db", node="node-a", addresses=(parse_address("10.244.1.2"),))
    web = Pod("x", "web", node="b", addresses=(parse_address("fd00::3"),), labels={"app": "web"})
    peers = Pods(pods=Selector((Requirement("app", "In", frozenset(("web",))),)), within="x")
    rule = Rule("spec.ingress[0]", (peers,), (PortRange("TCP", 80, 90),))
    policy = NetworkPolicy("x", "p", EVERYTHING, frozenset(("ingress",)), (rule,))
    tables = Tables()
    policies = PolicyTables(tables, lambda identity: 7 if identity.rules else NO_NUMBER, ToyJudge)
    workload = workload_of(db)
    assert workload is not None
    policies.set_workload(workload.link, workload)
    policies.learn(PolicyObjects((db, web), (), (policy,)))
    lines = {key.what: entry.value.to for key, entry in tables.state.items()}
    everything = ("TCP 0-65535", "UDP 0-65535", "SCTP 0-65535", "other 0-0")
    assert lines == {
        "ingress db": (),
        "ingress 0 to 10.244.1.2": (),
        "ingress 1 to 10.244.1.2": everything,
        "ingress 7 to 10.244.1.2": ("TCP 80-90",),
        "ingress peer fd00::3": ("7",),
    }
    guard = policies.guard("ingress", workload.link)
    assert guard is not None
    assert [cause.ref for cause in guard.because] == [policy.ref]
    assert policies.guard("egress", workload.link) is None

"""Denied packets: whose they were, which policies guard the pod, and who is told."""

import os
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from prometheus_client import CollectorRegistry, Counter

from steppe.agent.denied import denied, samples
from steppe.agent.denied.denied import Denials
from steppe.agent.denied.samples import Samples
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import KernelError
from steppe.drivers.nflog import Sample
from steppe.kube.objects import Node, Pod, Workload
from steppe.kube.policies import Direction, Namespace, NetworkPolicy
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING
from steppe.settings import Settings

OWN4, OWN6 = ip_address("10.244.1.5"), ip_address("fd00::5")
PEER = ip_address("10.244.2.6")
NODE = ip_address("192.0.2.12")
WEB = Workload("st1", "default", "web", "node-a", (OWN4, OWN6))
DB = Pod("other", "db", node="node-b", addresses=(PEER,))


def policy(name: str, *isolates: Direction) -> NetworkPolicy:
    return NetworkPolicy("default", name, EVERYTHING, frozenset(isolates))


@pytest.fixture
def compiler() -> NodeCompiler:
    made = NodeCompiler(Settings(), "node-a")
    made.set_node(Node("node-a", prefixes=pod_cidrs("node-a", [ip_network("10.244.1.0/24")])))
    made.set_node(Node("node-b", addresses=(NODE,)))
    made.set_workload(WEB)
    made.policies.set_namespace(Namespace("default"))
    made.policies.set_pod(Pod("default", "web", node="node-a", addresses=WEB.addresses))
    made.policies.set_policy(policy("one", "ingress"))
    made.policies.set_policy(policy("two", "ingress", "egress"))
    return made


class World:
    """A kernel's counters, and what becomes of them."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self.registry = CollectorRegistry()
        total = Counter("denied", "", ["direction", "policy"], registry=self.registry)
        self.denials = Denials(compiler, dict, total)

    def rows(self) -> list[tuple[str, str, int, list[str]]]:
        return [
            (row["pod"], row["direction"], row["packets"], row["policies"])
            for row in self.denials.rows()
        ]

    def metrics(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["direction"], sample.labels["policy"]): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "denied_total"
        }


ONE, TWO = "NetworkPolicy/default/one", "NetworkPolicy/default/two"


def test_a_packet_counts_for_every_policy_that_guards_the_pod(compiler: NodeCompiler) -> None:
    world = World(compiler)
    world.denials.take({("ingress", OWN4): 3, ("ingress", OWN6): 2, ("egress", OWN4): 1})
    assert world.rows() == [
        ("default/web", "egress", 1, [TWO]),
        ("default/web", "ingress", 5, [ONE, TWO]),
    ]
    assert world.metrics() == {("ingress", ONE): 5, ("ingress", TWO): 5, ("egress", TWO): 1}


def test_only_what_is_new_counts_and_a_counter_may_begin_again(compiler: NodeCompiler) -> None:
    world = World(compiler)
    for packets in (3, 3, 5, 1):
        world.denials.take({("ingress", OWN4): packets})
    assert [row[2] for row in world.rows()] == [6]


def test_what_another_pod_left_is_not_the_new_ones(compiler: NodeCompiler) -> None:
    world = World(compiler)
    world.denials.take({("ingress", OWN4): 3})
    compiler.remove_workload("st1")
    world.denials.take({("ingress", OWN4): 4})
    assert world.rows() == []
    compiler.set_workload(Workload("st2", "default", "web", "node-a", (OWN4,)))
    world.denials.take({("ingress", OWN4): 5})
    assert [row[2] for row in world.rows()] == [1]


def test_a_policy_that_guards_nobody_leaves_the_metrics(compiler: NodeCompiler) -> None:
    world = World(compiler)
    world.denials.take({("ingress", OWN4): 3})
    compiler.policies.remove_policy("default", "two")
    world.denials.take({("ingress", OWN4): 4})
    assert world.metrics() == {("ingress", ONE): 4}


def test_metrics_have_room_for_so_many_policies(
    compiler: NodeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denied, "MOST_SERIES", 1)
    world = World(compiler)
    world.denials.take({("ingress", OWN4): 3})
    world.denials.take({("ingress", OWN4): 4})
    assert world.metrics() == {("ingress", ONE): 4, ("ingress", denied.OTHERS): 4}


def test_a_pod_that_the_api_has_not_sent_has_no_policies(compiler: NodeCompiler) -> None:
    compiler.policies.remove_pod("default", "web")
    world = World(compiler)
    world.denials.take({("ingress", OWN4): 3})
    assert world.rows() == [("default/web", "ingress", 3, [])]
    assert world.metrics() == {("ingress", ""): 3}


class Pipe:
    """A log that a test fills."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.held: list[Sample] = []
        self.closed = False

    def put(self, *found: Sample) -> None:
        self.held += found
        os.write(self.write, b"x")

    def fileno(self) -> int:
        return self.read

    def drain(self) -> tuple[Sample, ...]:
        os.read(self.read, 100)
        found, self.held = tuple(self.held), []
        return found

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)
        self.closed = True


async def test_every_follower_is_reported_and_nobody_listens_without_one(
    compiler: NodeCompiler,
) -> None:
    pipes: list[Pipe] = []

    def listen() -> Pipe:
        pipes.append(Pipe())
        return pipes[-1]

    it = Samples(compiler, lambda: (DB,), listen)
    with it.following() as second:
        with it.following() as first:
            (pipe,) = pipes
            pipe.put(
                Sample("elsewhere", PEER, OWN4, "TCP", 80),
                Sample("ingress", PEER, OWN4, "TCP", 80),
            )
            told, same = await first.next(), await second.next()
        assert told == same
        assert told is not None
        assert datetime.fromisoformat(told.pop("time")).tzinfo == UTC
        assert told == {
            "node": "node-a",
            "direction": "ingress",
            "source": {"address": "10.244.2.6", "name": "other/db"},
            "destination": {"address": "10.244.1.5", "name": ""},
            "protocol": "TCP",
            "port": 80,
            "policies": [ONE, TWO],
        }
        assert not pipe.closed
        pipe.put(Sample("egress", OWN4, NODE, "UDP", 53))
        told = await second.next()
        assert told is not None
        assert (told["destination"]["name"], told["policies"]) == ("node/node-b", [TWO])
    assert pipe.closed


async def test_silence_is_reported_too(
    compiler: NodeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SILENCE_SECONDS", 0.01)
    with Samples(compiler, tuple, Pipe).following() as follower:
        assert await follower.next() is None


async def test_a_group_that_is_taken_is_an_error(compiler: NodeCompiler) -> None:
    def taken() -> Pipe:
        raise KernelError("listen to log group 1", 16)

    with (
        pytest.raises(KernelError, match="log group 1"),
        Samples(compiler, tuple, taken).following(),
    ):
        pass

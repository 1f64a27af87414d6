"""Connections that a new policy forbids end; those that it allows, and the node's own, go on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from steppe.agent.feeds.policies import PolicyFeed
from steppe.agent.node.policy_flows import PolicyFlowEnder
from steppe.client.informer import Replaced
from steppe.compile.incremental import NodeCompiler
from steppe.kube import policy_wire, wire
from steppe.kube.objects import Node, Workload
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import IPAddress
from steppe.net.flow import Endpoints, Flow
from steppe.net.packet import Protocol
from steppe.settings import Settings
from steppe.state.nft import ElementKey
from tests.waiting import patience, until_async

POD, PEER, HOST = map(ip_address, ("10.244.1.5", "10.244.2.6", "192.0.2.11"))
CHANGED = ElementKey("ingress_guarded4", (POD,))


def flow(source: IPAddress, port: int, protocol: Protocol = "TCP") -> Flow:
    return Flow(
        protocol,
        Endpoints(source, 40000, POD, port),
        Endpoints(POD, port, source, 40000),
    )


ALLOWED, FORBIDDEN, OWN = flow(PEER, 80), flow(PEER, 81), flow(HOST, 81)


class Table:
    def __init__(self, *held: Flow) -> None:
        self.held = set(held)
        self.reads = 0

    def flows(self, _: Iterable[str]) -> tuple[Flow, ...]:
        self.reads += 1
        return tuple(self.held)

    def end(self, ended: Iterable[Flow]) -> int:
        self.held -= set(ended)
        return 0


def compiled() -> NodeCompiler:
    """A node with one pod, that lets port 80 in."""
    made = NodeCompiler(Settings(), "node-a")
    prefixes = pod_cidrs("node-a", [ip_network("10.244.1.0/24")])
    made.set_node(Node("node-a", prefixes=prefixes, addresses=(HOST,)))
    made.set_workload(Workload("st1", "default", "web", "node-a", (POD,)))
    feed = PolicyFeed(made)
    pod: dict[str, Any] = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": "node-a"},
        "status": {"podIPs": [{"ip": str(POD)}]},
    }
    ingress = [{"ports": [{"port": 80}]}]
    policy = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}, "ingress": ingress},
    }
    feed.take_namespace(
        Replaced((msgspec.convert({"metadata": {"name": "default"}}, policy_wire.Namespace),))
    )
    feed.take_pod(Replaced((msgspec.convert(pod, wire.Pod),)))
    feed.take_policy(Replaced((msgspec.convert(policy, policy_wire.NetworkPolicy),)))
    feed.take_cluster_policy(Replaced(()))
    return made


@asynccontextmanager
async def ending(table: Any) -> AsyncIterator[PolicyFlowEnder]:
    it = PolicyFlowEnder(compiled(), table)
    async with asyncio.timeout(patience(20)), asyncio.TaskGroup() as tasks:
        job = tasks.create_task(it.run())
        yield it
        job.cancel()


async def test_only_what_is_forbidden_ends_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "steppe.agent")
    table = Table(ALLOWED, FORBIDDEN, OWN)

    async def ended() -> bool:
        return FORBIDDEN not in table.held and bool(caplog.messages)

    async with ending(table) as it:
        it.changed([CHANGED])
        await until_async(ended, 10, "the forbidden one is gone")
    assert table.held == {ALLOWED, OWN}
    (told,) = caplog.messages
    assert told.startswith("ended flow=")
    assert "a policy forbids it now" in told


@pytest.mark.parametrize("protocol", ["UDP", "SCTP", "ICMP"])
async def test_flows_of_every_protocol_are_judged(protocol: Protocol) -> None:
    gone = flow(PEER, 0 if protocol == "ICMP" else 81, protocol)
    table = Table(ALLOWED, gone)

    async def ended() -> bool:
        return gone not in table.held

    async with ending(table) as it:
        it.changed([CHANGED])
        await until_async(ended, 10, "the forbidden one is gone")
    assert table.held == {ALLOWED}


async def test_what_an_answer_under_way_begins_is_ended_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The pod may send where it likes, so nothing else tells such a flow from one of its own."""
    caplog.set_level(logging.INFO, "steppe.agent")
    asked = flow(PEER, 81, "UDP")
    answer = Flow("UDP", asked.reply, asked.original)
    own = Flow("UDP", Endpoints(POD, 82, PEER, 40000), Endpoints(PEER, 40000, POD, 82))
    table = Table(asked, own)

    async def ended() -> bool:
        return asked not in table.held

    async def ended_again() -> bool:
        return answer not in table.held

    async with ending(table) as it:
        it.changed([CHANGED])
        await until_async(ended, 10, "the forbidden one is gone")
        for _ in range(2):  # an answer is late, and another later
            table.held.add(answer)
            await until_async(ended_again, 10, "what its answer began is gone")
    assert table.held == {own}
    assert any("an answer of a flow that was ended began it" in told for told in caplog.messages)


async def test_without_a_flow_that_was_ended_nothing_is_looked_for() -> None:
    table = Table(ALLOWED)

    async def read() -> bool:
        return table.reads == 1

    async with ending(table) as it:
        it.changed([CHANGED])
        await until_async(read, 10, "the table is read")
        await asyncio.sleep(1.2)
    assert table.reads == 1


async def test_entries_that_are_no_policys_cost_no_reading() -> None:
    table = Table(FORBIDDEN)
    async with ending(table) as it:
        it.changed([ElementKey("service4", (POD, "tcp", 80))])
        for _ in range(5):
            await asyncio.sleep(0)
    assert table.reads == 0
    assert table.held == {FORBIDDEN}


async def test_changes_while_the_table_is_read_cost_one_more_reading() -> None:
    table = Table()

    async def read_again() -> bool:
        return table.reads == 2

    async with ending(table) as it:
        it.changed([CHANGED])
        while table.reads == 0:
            await asyncio.sleep(0)
        for _ in range(100):
            it.changed([CHANGED])
        await until_async(read_again, 10, "it is read once more")
        await asyncio.sleep(0.05)
    assert table.reads == 2

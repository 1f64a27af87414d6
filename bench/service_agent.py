"""A real agent with 10,000 Services on an API server: how soon it is done with them, its memory,
what one endpoint's change costs it, and how soon another agent takes over from it.

Clocks run from a process's start to when it has nothing left to do. The second agent finds a kernel
in which all is as it shall be, and the kernel's count of nft transactions must stand still.
"""

import asyncio
import os
import re
import signal
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

from bench.cpu import idle_since, spent, spent_in_all
from bench.memory import resident
from bench.model import BenchError, Benchmark, Result, Say, Target
from bench.solo import Solo, create_all, create_nodes, log_tail, solo
from steppe.client.client import Client
from steppe.client.resources import ENDPOINTSLICES, SERVICES
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.kube.services import SERVICE_NAME_LABEL
from steppe_lab import netns
from steppe_lab.process import is_alive
from steppe_lab.record import Process

PRESENT, ENDPOINTS = 10_000, 10
CHANGES = 200
START = Target(
    f"agent start with {PRESENT} Services of {ENDPOINTS} endpoints → idle", 3.0, "s", at_most=True
)
MEMORY = Target(
    f"agent resident memory, {PRESENT * ENDPOINTS} endpoints", 150.0, "MB", at_most=True
)
EVENT = Target(
    f"one endpoint's change among {PRESENT} Services, CPU of the agent", 2.0, "ms", at_most=True
)
RESTART = Target(f"agent restart with {PRESENT} Services, no kernel change", 4.0, "s", at_most=True)
_CHANGES = "steppe_changes_total"
_METRICS = "127.0.0.1:9473"
_PODS = int(IPv4Address("10.128.0.0"))
_ELSEWHERE = IPv4Address("10.200.0.0")
_PATIENCE = 180.0
_BETWEEN_SECONDS, _RESTING_SECONDS = 0.03, 5.0
_NETLINK_NETFILTER = 12
_GETGEN = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_NFTA_GEN_ID = 1


def service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"s{number}", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def endpoint_slice(number: int) -> dict[str, Any]:
    first = _PODS + number * ENDPOINTS
    endpoints = [
        {"addresses": [str(IPv4Address(first + index))], "conditions": {"ready": True}}
        for index in range(ENDPOINTS)
    ]
    labels = {SERVICE_NAME_LABEL: f"s{number}"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"s{number}-a", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}],
    }


async def create(client: Client) -> None:
    await create_nodes(client, range(1))

    async def pair(number: int) -> None:
        await client.create(SERVICES, service(number), "default")
        await client.create(ENDPOINTSLICES, endpoint_slice(number), "default")

    await create_all(pair, range(PRESENT))


def figures() -> dict[str, float]:
    """The agent's metrics, asked from inside its namespace; none while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{_METRICS}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    found = re.findall(r"^(steppe\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def started(world: Solo) -> tuple[Process, float, dict[str, float]]:
    """An agent that has all elements in the kernel and rests; after how many seconds; metrics."""
    began = time.monotonic()
    agent = world.start_agent(_METRICS)
    found: dict[str, float] = {}

    def in_sync() -> bool:
        if not is_alive(agent):
            raise BenchError(f"the agent has ended; it says:\n{log_tail()}")
        found.update(netns.inside(world.namespace, figures))
        entries = found.get('steppe_entries{table="elements"}', 0.0)
        return entries >= PRESENT * ENDPOINTS and found.get("steppe_in_sync") == 1.0

    done = idle_since(agent.pid, _PATIENCE, in_sync)
    return agent, done - began, found


async def move_endpoints(client: Client) -> None:
    """Move one endpoint of each of some Services, one after the other."""
    for number in range(CHANGES):
        changed = endpoint_slice(number)
        changed["endpoints"][ENDPOINTS // 2]["addresses"] = [str(_ELSEWHERE + number)]
        patch = {"endpoints": changed["endpoints"]}
        await client.patch(ENDPOINTSLICES, changed["metadata"]["name"], patch, "default")
        # Changes that come together cost less: they are one transaction.
        await asyncio.sleep(_BETWEEN_SECONDS)


def change_cost(world: Solo, pid: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of the agent's processor time a change, and what else it would have used."""
    before, began = spent(pid), time.monotonic()
    time.sleep(_RESTING_SECONDS)
    resting = (spent(pid) - before) / (time.monotonic() - began)
    before, began = spent(pid), time.monotonic()
    changed = transactions(world)
    world.run(move_endpoints)
    idle_since(pid, _PATIENCE, lambda: transactions(world) - changed > CHANGES // 2)
    used, took = spent(pid) - before, time.monotonic() - began
    each = (used - resting * took) * 1000 / CHANGES
    return each, {"CPU a second at rest, ms": resting * 1000}


def transactions(world: Solo) -> int:
    """How many nft transactions the namespace has seen."""

    def ask() -> int:
        with NetlinkSocket(protocol=_NETLINK_NETFILTER) as asked:
            answer = asked.get(Request(_GETGEN, struct.pack(">BBH", 0, 0, 0)))
        return int.from_bytes(nl.attributes(answer.body, 4)[_NFTA_GEN_ID], "big")

    return netns.inside(world.namespace, ask)


def measure(say: Say) -> Iterator[Result]:
    with solo() as world:
        say(f"  creating {PRESENT} Services of {ENDPOINTS} endpoints")
        world.run(create)
        say("  starting the agent")
        agent, taken, _ = started(world)
        yield Result(START, taken, {"CPU": spent_in_all(agent.pid)})
        yield Result(MEMORY, resident(agent.pid))
        say(f"  {CHANGES} changes")
        yield Result(EVENT, *change_cost(world, agent.pid))
        before = transactions(world)
        say("  starting another in its place")
        end(agent)
        agent, taken, found = started(world)
        changes = sum(count for name, count in found.items() if name.startswith(_CHANGES))
        if transactions(world) != before or changes:
            raise BenchError(f"it made {changes:.0f} changes; it says:\n{log_tail()}")
        yield Result(RESTART, taken, {"CPU": spent_in_all(agent.pid)})


def end(agent: Process) -> None:
    """Kill the agent, which is our child, and wait until it is gone."""
    os.kill(agent.pid, signal.SIGKILL)
    os.waitpid(agent.pid, 0)


BENCHMARK = Benchmark((START, MEMORY, EVENT, RESTART), measure)

"""A real agent with 10,000 Services: its memory, and how soon another one takes over from it.

The second agent finds a kernel in which all is as it shall be. Its clock runs from its start to
when it has compared everything, and the kernel's count of nft transactions must stand still.
"""

import os
import re
import signal
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

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
MEMORY = Target(
    f"agent resident memory, {PRESENT * ENDPOINTS} endpoints", 400.0, "MB", at_most=True
)
RESTART = Target(f"agent restart with {PRESENT} Services, no kernel change", 4.0, "s", at_most=True)
_CHANGES = "steppe_changes_total"
_METRICS = "127.0.0.1:9473"
_PODS = int(IPv4Address("10.128.0.0"))
_PATIENCE = 180.0
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


def wait_until_in_sync(world: Solo, agent: Process) -> dict[str, float]:
    """The agent's metrics once it has compared all elements with the kernel."""
    wanted = PRESENT * ENDPOINTS
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and is_alive(agent):
        found = netns.inside(world.namespace, figures)
        entries = found.get('steppe_entries{table="elements"}', 0.0)
        if entries >= wanted and found.get("steppe_in_sync") == 1.0:
            return found
        time.sleep(0.1)
    raise BenchError(f"not in sync within {_PATIENCE:.0f} s; the agent says:\n{log_tail()}")


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
        began = time.monotonic()
        agent = world.start_agent(_METRICS)
        wait_until_in_sync(world, agent)
        loaded = time.monotonic() - began
        held = resident(agent.pid)
        yield Result(MEMORY, held, {"start to in sync, empty kernel": loaded})
        before = transactions(world)
        say("  starting another in its place")
        end(agent)
        began = time.monotonic()
        agent = world.start_agent(_METRICS)
        found = wait_until_in_sync(world, agent)
        taken, spent = time.monotonic() - began, cpu_seconds(agent.pid)
        changes = sum(count for name, count in found.items() if name.startswith(_CHANGES))
        if transactions(world) != before or changes:
            raise BenchError(f"it made {changes:.0f} changes; it says:\n{log_tail()}")
        yield Result(RESTART, taken, {"CPU": spent})


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has had: less than the clock's on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end(agent: Process) -> None:
    """Kill the agent, which is our child, and wait until it is gone."""
    os.kill(agent.pid, signal.SIGKILL)
    os.waitpid(agent.pid, 0)


BENCHMARK = Benchmark((MEMORY, RESTART), measure)

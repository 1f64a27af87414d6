"""One node and an API server, with as many other nodes as objects as a benchmark asks for.

    namespace st-bench-node-a:   API server 127.0.0.1 ◀── agent ──▶ kernel ──▶ RouteMonitor
                                     ▲
                                     └── the benchmark, on a thread inside

The names are those of a lab, so `steppe lab down --name bench` clears up after a crash.
"""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.lab import NAME, down
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import NAMESPACES, NODES
from steppe_lab import netns, process
from steppe_lab.manifests import STATUS_NAMESPACE
from steppe_lab.process import python
from steppe_lab.ready import wait_for_api
from steppe_lab.record import Process, paths

HERE = "node-a"
_NODE_ADDRESSES = (IPv4Address("10.0.0.1"), IPv6Address("fd00:10::1"))
_POD_PREFIXES = (int(IPv4Address("100.64.0.0")), int(IPv6Address("fd00:100::")))
# So many requests at a time keep the server busy and no longer.
_AT_ONCE = 8

_T = TypeVar("_T")


class Solo(msgspec.Struct, frozen=True):
    """Where the API server's credentials are, and the namespace."""

    kubeconfig: Path
    namespace: str

    def run(self, work: Callable[[Client], Awaitable[_T]]) -> _T:
        """Run a coroutine inside the namespace, with a client of the API."""

        async def body() -> _T:
            async with Client(load_config(str(self.kubeconfig))) as client:
                return await work(client)

        return netns.inside(self.namespace, lambda: asyncio.run(body()))

    def start_agent(self, metrics: str = "") -> Process:
        """Start an agent that serves its metrics there, or nowhere."""
        folder = paths(NAME).node(HERE)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = ("--node", HERE, "--kubeconfig", str(self.kubeconfig))
        flags = ("--state-dir", str(folder), "--fabric", "direct", "--metrics-listen", metrics)
        argv = python("steppe.agent", *arguments, *flags)
        return process.start(NAME, f"agent/{HERE}", argv, paths(NAME).log("agent"), self.namespace)


@contextlib.contextmanager
def solo() -> Iterator[Solo]:
    """The namespace with its API server; both go away at the end."""
    down()
    namespace = netns.namespace(NAME, HERE)
    where = paths(NAME)
    try:
        where.root.mkdir(mode=0o700, parents=True)
        netns.create((namespace,))
        _wire(namespace)
        argv = python("steppe_lab.apiserver", "--data", str(where.api))
        api = process.start(NAME, "api", argv, where.log("api"), namespace)
        kubeconfig = where.api / "admin.kubeconfig"
        wait_for_api(api, kubeconfig)
        world = Solo(kubeconfig, namespace)
        world.run(lambda client: client.create(NAMESPACES, STATUS_NAMESPACE))
        yield world
    finally:
        down()


def _wire(namespace: str) -> None:
    """An interface on the nodes' subnet; nobody is at its other end, which routes do not mind."""
    commands = (
        "link set lo up",
        "link add eth0 type veth peer name wire",
        "link set wire up",
        "link set eth0 up",
        f"address add {_NODE_ADDRESSES[0]}/16 dev eth0",
        f"address add {_NODE_ADDRESSES[1]}/64 dev eth0 nodad",
        # By these the agent tells which link leads to the other nodes.
        "route add default via 10.0.255.254 dev eth0",
        "route add default via fd00:10::ffff:ffff dev eth0",
    )
    batch = "\n".join(commands)
    subprocess.run(("ip", "-n", namespace, "-batch", "-"), input=batch, text=True, check=True)


def pod_prefixes(number: int) -> tuple[IPv4Network, IPv6Network]:
    """The prefixes of the node with this number."""
    return (
        IPv4Network((_POD_PREFIXES[0] + (number << 8), 24)),
        IPv6Network((_POD_PREFIXES[1] + (number << 64), 64)),
    )


def node_object(number: int) -> dict[str, Any]:
    """A Node as its kubelet and the controller leave it; number 0 is the one we are on."""
    name = HERE if number == 0 else f"other-{number}"
    prefixes = [str(prefix) for prefix in pod_prefixes(number)]
    addresses = [
        {"type": "InternalIP", "address": str(address + number)} for address in _NODE_ADDRESSES
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": prefixes[0], "podCIDRs": prefixes},
        "status": {
            "addresses": [*addresses, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


async def create_all(create: Callable[[int], Awaitable[object]], numbers: range) -> None:
    """Create many objects, a few at a time."""
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            await create(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(worker())


async def create_nodes(client: Client, numbers: range) -> None:
    await create_all(lambda number: client.create(NODES, node_object(number)), numbers)


def route_count(namespace: str) -> int:
    """How many routes to other nodes' pods the kernel holds, both families."""
    count = 0
    for family in ("-4", "-6"):
        command = ("ip", "-n", namespace, "-j", family, "route", "show", "dev", "eth0")
        routes = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        count += sum("gateway" in route and route["dst"] != "default" for route in routes)
    return count


def log_tail(lines: int = 20) -> str:
    """What the agent said last."""
    path = paths(NAME).log("agent")
    text = path.read_text(errors="replace") if path.exists() else "no log"
    return "\n".join(text.splitlines()[-lines:])

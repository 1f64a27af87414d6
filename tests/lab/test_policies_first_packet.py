"""A pod that a policy isolates sends before anything else, and nothing of it arrives.

STEPPE_STARTS (30) and STEPPE_RESTARTS (3) say how many pods start, and how often agents are
restarted; the promise is kept for 200 and 20.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, Self

import pytest

from steppe.agent.ask import AskError, ask
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import NAMESPACES, NETWORKPOLICIES, PODS
from steppe_lab import netns
from steppe_lab.kubelet.sandbox import namespace_name
from steppe_lab.restart import restart
from tests.lab.conftest import Lab, make_labs
from tests.waiting import until_async

STARTS = int(os.environ.get("STEPPE_STARTS", "30"))
RESTARTS = int(os.environ.get("STEPPE_RESTARTS", "3"))
BATCH = 10

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(120 + 2 * STARTS + 30 * RESTARTS),
]

Json = dict[str, Any]
NODES = ("node-a", "node-b")
PORT = 7777
DOORS = 200
_ETH_P_ALL = 3
_PROTOCOLS = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP"}
# The first thing that the program does, but for loading what it takes. A TCP handshake has begun
# when connect_ex returns.
SEND = """
import socket, sys
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        sock.connect_ex((address, int(sys.argv[1])))
        if kind == socket.SOCK_DGRAM:
            sock.send(b"first")
"""


class Heard(NamedTuple):
    version: int
    protocol: str
    source: str


class Ear:
    """Hears every packet that comes to a pod at its port."""

    def __init__(self, lab: Lab, pod: Json) -> None:
        self.addresses = [each["ip"] for each in pod["status"]["podIPs"]]
        name = namespace_name(lab.name, pod["metadata"]["uid"])
        self._sock = netns.inside(name, _packets)

    def close(self) -> None:
        self._sock.close()

    def heard(self) -> list[Heard]:
        """What has come since the last time."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += _read(self._sock.recv(2048))
        return [one for one in found if one.source not in self.addresses]


def _packets() -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    return socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))


def _read(packet: bytes) -> Iterator[Heard]:
    version = packet[0] >> 4
    protocol, source, end = (
        (packet[9], packet[12:16], (packet[0] & 15) * 4)
        if version == 4
        else (packet[6], packet[8:24], 40)
    )
    if protocol in _PROTOCOLS and int.from_bytes(packet[end + 2 : end + 4], "big") == PORT:
        yield Heard(version, _PROTOCOLS[protocol], str(ip_address(source)))


class World:
    """A lab with an ear on each node."""

    def __init__(self, lab: Lab, client: Client, ears: Sequence[Ear]) -> None:
        self.lab = lab
        self.client = client
        self.ears = ears
        self._count = 0

    @property
    def targets(self) -> list[str]:
        return [address for ear in self.ears for address in ear.addresses]

    def heard(self) -> list[Heard]:
        return [one for ear in self.ears for one in ear.heard()]

    async def start(self, namespace: str, count: int) -> None:
        """Pods that send at once, on both nodes in turn; return when all are done, and gone."""
        names = [f"first-{self._count + number}" for number in range(count)]
        self._count += count
        for number, name in enumerate(names):
            body = _pod(name, NODES[number % 2])
            body["spec"]["restartPolicy"] = "Never"
            command = [sys.executable, "-I", "-S", "-c", SEND, str(PORT), *self.targets]
            body["spec"]["containers"] = [{"name": "first", "image": "none", "command": command}]
            await self.client.create(PODS, body, namespace)

        async def done() -> bool:
            pods, _ = await self.client.list(PODS, namespace)
            phases = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in pods}
            assert "Failed" not in phases.values()
            return all(phases[name] == "Succeeded" for name in names)

        await until_async(done, 60, "every pod has sent and ended")
        for name in names:
            await self.client.delete(PODS, name, namespace, grace_period=0)


def _pod(name: str, node: str) -> Json:
    containers = [{"name": "pause", "image": "pause"}]
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _policy(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("first")) as make:
        yield make("first", "--nodes", "2", pods=[_pod(f"ear-{n[-1]}", n) for n in NODES])


@contextlib.asynccontextmanager
async def world_in(lab: Lab) -> AsyncIterator[World]:
    config = load_config(lab.record()["kubeconfig"])
    async with Client(config, user_agent="tests") as client:
        pods, _ = await client.list(PODS, "default")
        with contextlib.ExitStack() as stack:
            ears = [stack.enter_context(contextlib.closing(Ear(lab, pod))) for pod in pods]
            yield World(lab, client, ears)


@contextlib.asynccontextmanager
async def namespace(client: Client, name: str, *policies: Json) -> AsyncIterator[None]:
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    for policy in policies:
        await client.create(NETWORKPOLICIES, policy, name)
    yield
    await client.delete(NAMESPACES, name)


async def change_policies(client: Client, namespace: str, stop: asyncio.Event) -> int:
    """One wall takes the other's place, and doors that lead elsewhere move; how often.

    There are so many doors that the kernel is always some way behind the API.
    """
    walls, rounds = ("wall-1", "wall-2"), 0
    while not stop.is_set():
        old, new = walls
        await client.create(NETWORKPOLICIES, _policy(new), namespace)
        await client.delete(NETWORKPOLICIES, old, namespace)
        blocks = [f"198.18.{n}.{rounds % 128 * 2}/32" for n in range(DOORS)]
        doors = {"to": [{"ipBlock": {"cidr": block}} for block in blocks]}
        ports = {"ports": [{"port": PORT - 1}, {"port": 1 + rounds % 100, "protocol": "SCTP"}]}
        await client.patch(
            NETWORKPOLICIES,
            "doors",
            _policy("doors", policyTypes=["Egress"], egress=[doors, ports]),
            namespace,
            kind="apply",
        )
        walls, rounds = (new, old), rounds + 1
    return rounds


async def test_what_a_pod_sends_first_is_heard_where_no_policy_isolates_it(lab: Lab) -> None:
    async with world_in(lab) as world, namespace(world.client, "open"):
        await world.start("open", BATCH)
        for ear in world.ears:
            heard = ear.heard()
            assert {(one.version, one.protocol) for one in heard} == {
                (version, protocol) for version in (4, 6) for protocol in ("TCP", "UDP")
            }
            assert len({one.source for one in heard}) == 2 * BATCH


async def test_nothing_of_an_isolated_pods_first_packets_arrives_while_policies_change(
    lab: Lab,
) -> None:
    async with world_in(lab) as world, namespace(world.client, "closed", _policy("wall-1")):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            changing = group.create_task(change_policies(world.client, "closed", stop))
            for _ in range(0, STARTS, BATCH):
                await world.start("closed", BATCH)
            stop.set()
        assert changing.result() > STARTS // BATCH
        assert world.heard() == []


class Flood:
    """A pod that sends all the time: UDP and TCP, to every ear."""

    def __init__(self, lab: Lab, pod: Json, targets: Sequence[str]) -> None:
        self.sent = 0
        self._name = namespace_name(lab.name, pod["metadata"]["uid"])
        self._targets = targets
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flood")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        netns.enter(self._name)
        while not self._stop.wait(0.005):
            for address in self._targets:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(family, kind | socket.SOCK_NONBLOCK) as sock:
                        sock.connect_ex((address, PORT))
                        if kind == socket.SOCK_DGRAM:
                            sock.send(b"more")
                        self.sent += 1


async def restart_agent(lab: Lab, node: str) -> None:
    """Kill it and start it again; return once it has read all there is."""
    await asyncio.to_thread(restart, lab.name, f"agent/{node}")

    async def serves() -> bool:
        path = lab.root / "nodes" / node / "agent.sock"
        try:
            status = await asyncio.to_thread(ask, path, "status")
        except AskError:
            return False
        return bool(status["ready"] and all(status["api"]["seen"].values()))

    await until_async(serves, 30, f"the agent of {node} serves again")


async def test_nothing_of_an_isolated_pod_arrives_while_agents_are_restarted(lab: Lab) -> None:
    async with world_in(lab) as world, namespace(world.client, "shut", _policy("wall-1")):
        for node in NODES:
            await world.client.create(PODS, _pod(f"flood-{node}", node), "shut")

        async def ready() -> list[Json]:
            pods, _ = await world.client.list(PODS, "shut")
            return pods if all(pod["status"].get("podIPs") for pod in pods) else []

        await until_async(ready, 30, "the pods that send all the time are there")
        stop = asyncio.Event()
        with contextlib.ExitStack() as stack:
            floods = [stack.enter_context(Flood(lab, pod, world.targets)) for pod in await ready()]
            async with asyncio.TaskGroup() as group:
                group.create_task(change_policies(world.client, "shut", stop))
                for number in range(RESTARTS):
                    async with asyncio.TaskGroup() as both:
                        both.create_task(world.start("shut", BATCH))
                        both.create_task(restart_agent(lab, NODES[number % 2]))
                stop.set()
        assert all(flood.sent for flood in floods)
        assert world.heard() == []

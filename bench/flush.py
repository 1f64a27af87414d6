"""Another program deletes the table of 1,000 Services: how soon it is back, whole and awake.

The keeper runs over a real nft driver. The clock is of the kernel's notifications: from the one
that says that the table went, to the one that says that a new one is no more asleep.
"""

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import msgspec

from bench.model import BenchError, Benchmark, Result, Say, Target, percentile
from bench.services import NAMESPACE, namespace
from steppe.agent.health.metrics import Metrics
from steppe.agent.node.keeper import Keeper
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.driver import NOTHING, Composite, Fault, Watches
from steppe.drivers.errors import Failure
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.hearing import join
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.netlink.socket import open_socket
from steppe.drivers.nftables.driver import Nft
from steppe.kube.objects import Node, Underlay, Workload
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.plan.diff import Change
from steppe.settings import Settings
from steppe.state.nft import ElementKey
from steppe.state.node import TABLES, Key, Value, values

SERVICES, ENDPOINTS = 1000, 3
FLUSHES = 7
TARGET = Target(
    f"table of {SERVICES} Services deleted by another program → back", 100.0, "ms", at_most=True
)
_NEWTABLE, _DELTABLE = nfnl.kind(nfnl.NFTABLES, 0), nfnl.kind(nfnl.NFTABLES, 2)
_FLAGS, _DORMANT = 2, 1  # NFTA_TABLE_FLAGS, NFT_TABLE_F_DORMANT
_PATIENCE_SECONDS = 60.0


class Took(msgspec.Struct, frozen=True):
    """Seconds until the table was back: of the clock, and of this process's CPU."""

    wall: float
    cpu: float


class _Others:
    """All tables but nft's: it takes what it is given."""

    tables = frozenset(TABLES) - {ElementKey.table}

    def __init__(self) -> None:
        self._held: dict[Key, Value] = {}

    def check(self) -> tuple[Fault, ...]:
        return ()

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        del desired
        return ()

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        del wanted, tables
        return dict(self._held)

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        self._held.update({each.key: each.new for each in changes if each.new is not None})
        return ()

    def watch(self) -> Watches:
        return Watches()

    def close(self) -> None:
        """Nothing is open."""


class _Owner:
    """Knows everything, and has nothing to do."""

    trusted = True

    def applied(self, keys: Collection[Key]) -> None:
        """Nothing follows."""

    async def lost(self, workload: Workload) -> None:
        """There are no pods."""

    async def in_step(self) -> None:
        """Nobody waits."""


class _Heard:
    """When the table went, and when the next was awake."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._asleep = False
        self._gone: tuple[float, float] | None = None
        self._took: Took | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> Took:
        """Waits until the table is awake; BenchError if it never is."""
        self._thread.join(_PATIENCE_SECONDS)
        if self._took is None:
            raise BenchError("the table did not come back")
        return self._took

    def _run(self) -> None:
        while self._took is None:
            for message in nl.messages(self._sock.recv(1 << 16)):
                self._note(message)

    def _note(self, message: nl.Message) -> None:
        now = time.monotonic(), time.process_time()
        if message.kind == _DELTABLE and self._gone is None:
            self._gone = now
        elif message.kind == _NEWTABLE and self._gone is not None:
            flags = int.from_bytes(nfnl.attributes(message).get(_FLAGS, b""), "big")
            if flags & _DORMANT:
                self._asleep = True
            elif self._asleep:
                self._took = Took(now[0] - self._gone[0], now[1] - self._gone[1])


def compiled() -> NodeCompiler:
    """A node with the Services."""
    made = NodeCompiler(Settings(fabric="direct"), "node-a")
    prefixes = pod_cidrs("node-a", [ip_network("10.244.1.0/24")])
    own = (ip_address("192.0.2.11"),)
    made.set_node(Node("node-a", "", prefixes, own, underlay=Underlay("eth0", 1500)))
    for number in range(SERVICES):
        name, ports = f"s{number}", (ServicePort("http", "TCP", 80),)
        address = ip_address("10.96.0.0") + number
        made.set_service(Service("default", name, cluster_ips=(address,), ports=ports))
        first = ip_address("10.245.0.0") + number * ENDPOINTS
        ends = tuple(Endpoint(first + index) for index in range(ENDPOINTS))
        made.set_slice(EndpointSlice("default", name, name, (("http", "TCP", 8080),), ends))
    return made


async def flushes(netns_fd: int, command: str, times: int) -> list[Took]:
    """How long each of these flushes lasted; BenchError if the table does not come back whole."""
    compiler = compiled()
    desired = {k: v for k, v in values(compiler.state).items() if isinstance(k, ElementKey)}
    with ExitStack() as stack:
        nft = stack.enter_context(call_in(netns_fd, lambda: Nft(SKELETON)))
        watch = stack.enter_context(call_in(netns_fd, nft.watch))
        keeper = Keeper(compiler, Composite((nft, _Others())), Metrics(), _Owner())
        await keeper.read()
        keeper.touch(compiler.state)
        async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            jobs = [
                tasks.create_task(keeper.run()),
                tasks.create_task(keeper.follow(watch.events())),
            ]
            found = []
            for _ in range(times):
                await _until(lambda: nft.read() == desired and not nft.check())
                found.append(await _flushed(netns_fd, command))
            await _until(lambda: nft.read() == desired and not nft.check())
            for job in jobs:
                job.cancel()
    return found


def _run(netns_fd: int, command: str) -> None:
    """As another program: what this process changes itself, the watch takes for its own."""
    argv = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{netns_fd}", "nft", command)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"nft {command}: {done.stderr}")


async def _until(condition: Callable[[], bool]) -> None:
    # The kernel tells of changes; that none is missing only a reading tells.
    while not await asyncio.to_thread(condition):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _flushed(netns_fd: int, command: str) -> Took:
    def opened() -> socket.socket:
        return open_socket(None, 64 << 20, protocol=nfnl.NETLINK_NETFILTER)

    with call_in(netns_fd, opened) as sock:
        join(sock, [nfnl.NFNLGRP_NFTABLES])
        heard = _Heard(sock)
        await asyncio.to_thread(_run, netns_fd, command)
        return await asyncio.to_thread(heard.result)


def measure(say: Say) -> Iterator[Result]:
    say(f"  {FLUSHES} times `nft flush ruleset`")
    with namespace():
        fd = os.open(f"/run/netns/{NAMESPACE}", os.O_RDONLY)
        try:
            took = asyncio.run(flushes(fd, "flush ruleset", FLUSHES))
        finally:
            os.close(fd)
    wall, cpu = ([getattr(each, name) * 1000 for each in took] for name in ("wall", "cpu"))
    details = {"slowest": max(wall), "CPU": percentile(cpu, 0.5)}
    yield Result(TARGET, percentile(wall, 0.5), details)


BENCHMARK = Benchmark((TARGET,), measure)

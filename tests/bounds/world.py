"""One node with a real agent and an API server, in a namespace; and what a change does to them.

    namespace:   API server 127.0.0.1 ◀── agent (its loop's turns timed) ──▶ kernel
                     ▲                      ▲
                     └── the test, on threads inside ──┘ /healthz, CNI ADD and DEL, agent.sock

It has the name of a test's lab, so those are swept who killed tests leave behind.
"""

import asyncio
import contextlib
import http.client
import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from steppe.agent.cni import framing
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import NAMESPACES, NODES, PODS, Resource
from steppe.errors import SteppeError
from steppe_lab import netns, process
from steppe_lab.apiserver.database import Database
from steppe_lab.apiserver.store import Store
from steppe_lab.down import down
from steppe_lab.manifests import STATUS_NAMESPACE
from steppe_lab.process import python
from steppe_lab.ready import wait_for_api
from steppe_lab.record import Process, paths
from tests.lab.conftest import PREFIX
from tests.waiting import patience, until

NODE = "node-a"
HEALTH, METRICS = 10256, 9465
UNRELATED = ("elsewhere", "unrelated")
"""The pod that is attached again and again: no policy of these tests selects it."""
_WATCHED = Path(__file__).with_name("watched.py")
_AT_ONCE = 8
_WIRE = """\
link set lo up
link add eth0 type veth peer name wire
link set wire up
link set eth0 up
address add 10.0.0.1/16 dev eth0
address add fd00:10::1/64 dev eth0 nodad
route add default via 10.0.255.254 dev eth0
route add default via fd00:10::ffff dev eth0
"""
_NODE_OBJECT = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE},
    "spec": {"podCIDR": "10.244.0.0/20", "podCIDRs": ["10.244.0.0/20", "fd00:244::/64"]},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "fd00:10::1"},
        ]
    },
}
_SINCE = {"creationTimestamp": "2026-01-01T00:00:00Z"}
T = TypeVar("T")


class World:
    """The node; `agent` is its process."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.namespace = netns.namespace(lab, NODE)
        self.folder = paths(lab).node(NODE)
        self.turns = self.folder / "turns"
        self.kubeconfig = paths(lab).api / "admin.kubeconfig"
        self.agent = Process("", 0, 0, (), "")

    def start_api(self, pods: Iterable[dict[str, Any]] = ()) -> None:
        """With these pods in its store: to create 10,000 by requests would take a minute."""
        where = paths(self.lab)
        where.root.mkdir(mode=0o700, parents=True)
        self.folder.mkdir(parents=True)
        where.api.mkdir()
        database = Database(where.api / "state.db")
        store = Store(database)
        for number, each in enumerate(pods):
            own = {"uid": f"{number:08x}-0000-4000-8000-000000000000", **_SINCE}
            store.put("pods", {**each, "metadata": {**each["metadata"], **own}})
        database.close()
        netns.create((self.namespace,))
        ip = ("ip", "-n", self.namespace, "-batch", "-")
        subprocess.run(ip, input=_WIRE, text=True, check=True)
        argv = python("steppe_lab.apiserver", "--data", str(where.api))
        api = process.start(self.lab, "api", argv, where.log("api"), self.namespace)
        wait_for_api(api, self.kubeconfig)
        self.api(lambda client: client.create(NAMESPACES, STATUS_NAMESPACE))
        self.api(lambda client: client.create(NODES, _NODE_OBJECT))

    def start_agent(self) -> None:
        flags = ("--node", NODE, "--kubeconfig", str(self.kubeconfig), "--fabric", "direct")
        argv = (sys.executable, "-P", str(_WATCHED), str(self.turns), *flags)
        argv = (*argv, "--state-dir", str(self.folder))
        log = paths(self.lab).log("agent")
        self.agent = process.start(self.lab, f"agent/{NODE}", argv, log, self.namespace)
        until((self.folder / "cni.sock").exists, 30, "the agent answers the plugin")
        until(lambda: self.status()["ready"], 60, f"the node is ready: {self.log()}")

    def log(self) -> str:
        path = paths(self.lab).log("agent")
        return path.read_text()[-3000:] if path.exists() else ""

    def inside(self, work: Callable[[], T]) -> T:
        return netns.inside(self.namespace, work)

    def api(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """A coroutine that has a client of the API server."""

        async def body() -> T:
            async with Client(load_config(str(self.kubeconfig))) as client:
                return await work(client)

        return self.inside(lambda: asyncio.run(body()))

    def create(self, resource: Resource, objects: Iterable[dict[str, Any]]) -> None:
        """Create many objects, a few at a time."""
        left = iter(objects)

        async def worker(client: Client) -> None:
            for each in left:
                space, name = each["metadata"].get("namespace", ""), each["metadata"]["name"]
                await client.create(resource, each, space)
                if resource is PODS:  # as the API wants it: what a kubelet says is a patch
                    said = {"status": each["status"]}
                    await client.patch(resource, name, said, space, subresource="status")

        async def all_of_them(client: Client) -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(_AT_ONCE):
                    tasks.create_task(worker(client))

        self.api(all_of_them)

    def delete(self, resource: Resource, objects: Iterable[dict[str, Any]]) -> None:
        async def work(client: Client) -> None:
            for each in objects:
                meta = each["metadata"]
                await client.delete(resource, meta["name"], meta.get("namespace", ""))

        self.api(work)

    def ask(self, path: str) -> Any:
        """What the agent answers on agent.sock."""
        channel = http.client.HTTPConnection("localhost", timeout=patience(20))
        channel.sock = socket.socket(socket.AF_UNIX)
        channel.sock.settimeout(patience(20))
        with contextlib.closing(channel):
            channel.sock.connect(str(self.folder / "agent.sock"))
            channel.request("GET", path)
            return json.loads(channel.getresponse().read())

    def status(self) -> dict[str, Any]:
        return self.ask("/v1/status")

    def figures(self) -> dict[str, float]:
        """The agent's metrics."""

        def ask() -> str:
            channel = http.client.HTTPConnection("127.0.0.1", METRICS, timeout=patience(20))
            with contextlib.closing(channel):
                channel.request("GET", "/metrics")
                return channel.getresponse().read().decode()

        found = re.findall(r"^(steppe\S+) (\S+)$", self.inside(ask), re.MULTILINE)
        return {name: float(value) for name, value in found}

    def problems(self) -> list[str]:
        return [each["message"] for each in self.status()["problems"]]

    def cni(self, verb: str, pod: tuple[str, str], container: str, place: str) -> float:
        """Seconds until the agent has answered."""
        namespace, name = pod
        env = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(netns.NETNS_DIR / place),
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}",
            "CNI_PATH": "/none",
        }
        path = self.folder / "cni.sock"
        config = {"cniVersion": "1.0.0", "name": "net", "type": "steppe", "socket": str(path)}
        began = time.monotonic()
        request = {"env": env, "config": config}
        answer = self.inside(lambda: _answered(path, request))
        took = time.monotonic() - began
        assert answer["exit"] == 0, answer
        return took

    def attach(self, pod: tuple[str, str]) -> tuple[str, str, float]:
        """Attach a pod: its container, its namespace, and how long it took."""
        place = f"{netns.PREFIX}{self.lab}-pod-{secrets.token_hex(4)}"
        netns.create((place,))
        container = secrets.token_hex(16)
        return container, place, self.cni("ADD", pod, container, place)

    def resident(self) -> int:
        """Bytes of memory that the agent holds."""
        text = Path(f"/proc/{self.agent.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) << 10

    def spent(self) -> float:
        """Seconds of processor time that the agent has used."""
        fields = Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def quiet(self) -> bool:
        """Whether it has used no more than a little processor time for half a second."""
        before = self.spent()
        time.sleep(0.5)
        return self.spent() - before < 0.05


def _answered(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The agent's answer. A full queue is CNI's error 11, "try again later", as runtimes do."""
    end = time.monotonic() + patience(30)
    while True:
        try:
            return framing.call(path, request, patience(30))
        except framing.FramingError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() > end:
                raise
            time.sleep(0.02)


class Seen(msgspec.Struct):
    """What was seen while something went on; seconds and bytes."""

    health: float = 0.0
    added: float = 0.0
    memory: int = 0
    turn: float = 0.0
    turns: tuple[str, ...] = ()
    spent: float = 0.0
    fault: str = ""


@contextlib.contextmanager
def watching(world: World) -> Iterator[Seen]:
    """Ask for its health, attach and detach a pod and look at its memory, all the time."""
    seen, over = Seen(), threading.Event()
    turns, spent = world.turns.stat().st_size if world.turns.exists() else 0, world.spent()

    def each(work: Callable[[], None]) -> threading.Thread:
        def loop() -> None:
            try:
                while not over.is_set():
                    work()
            except (OSError, SteppeError, AssertionError, http.client.HTTPException) as error:
                seen.fault = seen.fault or f"{work.__name__}: {type(error).__name__}: {error}"

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return thread

    def healthy() -> None:
        seen.health = max(seen.health, world.inside(_health))
        seen.memory = max(seen.memory, world.resident())
        over.wait(0.05)

    def attaches() -> None:
        container, place, took = world.attach(UNRELATED)
        seen.added = max(seen.added, took)
        world.cni("DEL", UNRELATED, container, place)
        netns.delete(place)
        over.wait(0.1)

    threads = [each(healthy), each(attaches)]
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(patience(40))
        seen.spent = world.spent() - spent
        lines = world.turns.read_bytes()[turns:].decode().splitlines()
        seen.turns = tuple(sorted(lines, reverse=True)[:5])
        seen.turn = max((float(each.split("\t")[0]) for each in lines), default=0.0)


def _health() -> float:
    """Seconds until 10256 has answered, with 200."""
    began = time.monotonic()
    channel = http.client.HTTPConnection("127.0.0.1", HEALTH, timeout=patience(20))
    with contextlib.closing(channel):
        channel.request("GET", "/healthz")
        assert channel.getresponse().status == 200
    return time.monotonic() - began


@contextlib.contextmanager
def node(pods: Iterable[dict[str, Any]] = ()) -> Iterator[World]:
    """The world, which goes away at the end, however it went."""
    lab = f"{PREFIX}-bounds"
    try:
        world = World(lab)
        world.start_api(pods)
        yield world
    finally:
        down(lab)

"""The embedded API server with 10,000 pods: one list of all, and from create to watch event.

Plain HTTP requests, as any client sends them: no paging, and not through our own informer.
"""

import asyncio
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import aiohttp
import msgspec

from bench.model import BenchError, Benchmark, Result, Say, Target, percentile
from bench.solo import Solo, create_all, solo
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import PODS

PRESENT = 10_000
LISTS = 5
CREATES = 300
LIST = Target(f"embedded API: list of {PRESENT:,} pods", 1.0, "s", at_most=True)
WATCH = Target("embedded API: create → watch event, p99", 20.0, "ms", at_most=True)
NAMESPACE = "default"
_EVENT_SECONDS = 10.0


def pod_object(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "bench"}},
        "spec": {
            "nodeName": "node-a",
            "containers": [
                {"name": "web", "image": "example/web:1", "ports": [{"containerPort": 80}]}
            ],
        },
    }


class Watcher:
    """Reads a watch stream and remembers when it told of each pod."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._told = asyncio.Event()
        self.added: dict[str, float] = {}

    async def follow(self) -> None:
        async for line in self._response.content:
            now = time.monotonic()
            event = msgspec.json.decode(line)
            if event["type"] == "ADDED":
                self.added[event["object"]["metadata"]["name"]] = now
                self._told.set()

    async def when(self, name: str) -> float:
        async with asyncio.timeout(_EVENT_SECONDS):
            while name not in self.added:
                self._told.clear()
                await self._told.wait()
        return self.added[name]


async def list_all(session: aiohttp.ClientSession) -> tuple[float, str]:
    """Seconds until the whole body is here; and the resourceVersion to watch from."""
    began = time.monotonic()
    async with session.get(PODS.path(NAMESPACE)) as response:
        body = await response.read()
    seconds = time.monotonic() - began
    document = msgspec.json.decode(body)
    if len(document["items"]) < PRESENT:
        raise BenchError(f"the list holds {len(document['items'])} of {PRESENT} pods")
    return seconds, document["metadata"]["resourceVersion"]


async def create_and_see(session: aiohttp.ClientSession, version: str) -> list[float]:
    """Milliseconds from sending each pod until a watch tells of it."""
    times = []
    query = {"watch": "1", "resourceVersion": version}
    async with (
        session.get(PODS.path(NAMESPACE), params=query) as stream,
        asyncio.TaskGroup() as tasks,
    ):
        watcher = Watcher(stream)
        following = tasks.create_task(watcher.follow())
        for number in range(CREATES):
            name = f"seen-{number}"
            began = time.monotonic()
            async with session.post(PODS.path(NAMESPACE), json=pod_object(name)) as response:
                response.raise_for_status()
            times.append((await watcher.when(name) - began) * 1000)
        following.cancel()
    return times


async def both(world: Solo) -> tuple[list[float], list[float]]:
    config = load_config(str(world.kubeconfig))
    tls = config.ssl_context()
    async with aiohttp.ClientSession(
        config.server,
        connector=aiohttp.TCPConnector(ssl=True if tls is None else tls),
        headers={"Authorization": f"Bearer {config.token}"},
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=1 << 20,
    ) as session:
        lists = [await list_all(session) for _ in range(LISTS)]
        return [seconds for seconds, _ in lists], await create_and_see(session, lists[-1][1])


def measure(say: Say) -> Iterator[Result]:
    with solo() as world:
        say(f"  creating {PRESENT:,} pods")

        async def fill(client: Client) -> None:
            await create_all(
                lambda number: client.create(PODS, pod_object(f"pod-{number}"), NAMESPACE),
                range(PRESENT),
            )

        world.run(fill)
        say(f"  {LISTS} lists, {CREATES} creates")
        lists, creates = world.run(lambda _: both(world))
    yield Result(LIST, median(lists), {"runs": lists})
    yield Result(WATCH, percentile(creates, 0.99), {"median": median(creates), "max": max(creates)})


BENCHMARK = Benchmark((LIST, WATCH), measure)

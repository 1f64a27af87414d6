"""Clients that connect and say nothing, or say it slowly: they cost the agent nothing.

The agent's file descriptors are limited, as a service manager limits them: what opens a kernel
socket or answers the CNI plugin must find one free whatever strangers on port 10256 do.
"""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from steppe.agent.cni import framing
from steppe.agent.health.metrics import Metrics, serve
from steppe.agent.health.proxy_health import Place, ProxyHealth
from steppe.serving.limits import Limits
from tests.agent.test_health_ports import free_port
from tests.waiting import patience, until_async

HALF_OPEN = 2000
ANSWER_SECONDS = 1.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture(autouse=True)
def room_for_the_clients() -> Iterator[None]:
    """The clients are this process's too: both ends of each connection count."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * HALF_OPEN:
        pytest.skip(f"needs {3 * HALF_OPEN} file descriptors, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 * HALF_OPEN, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"echo": request}


@asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """An agent's proxy health port and its CNI socket."""
    port, path = free_port(), folder / "cni.sock"
    place = Place("127.0.0.1", port)
    health = ProxyHealth("node-a", place, busy=lambda: 0.0, leaving=lambda: False)
    async with asyncio.TaskGroup() as tasks, framing.serving(path, echo):
        task = tasks.create_task(health.run())
        await until_async(lambda: status(port), 5, "the port answers")
        yield port, path
        task.cancel()


async def status(port: int, path: str = "/healthz") -> int | None:
    timeout = aiohttp.ClientTimeout(patience(5))
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status
    except aiohttp.ClientConnectionError:
        return None


async def answers(port: int, path: Path) -> None:
    """Both ask and are answered in time."""
    began = time.monotonic()
    assert await status(port) == 200
    assert await asyncio.to_thread(framing.call, path, {"a": 1}, 5) == {"echo": {"a": 1}}
    assert time.monotonic() - began < patience(ANSWER_SECONDS)


async def connected(port: int, said: bytes, count: int, held: contextlib.ExitStack) -> None:
    """Open so many connections, and say this on each; what is refused is no matter."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        client = held.enter_context(socket.socket())
        client.setblocking(False)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(patience(5)):
                await loop.sock_connect(client, ("127.0.0.1", port))
            if said:
                client.send(said)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("said", [b"", HEAD], ids=["silent", "half a header"])
async def test_half_open_connections_keep_nobody_from_an_answer(
    tmp_path: Path, said: bytes
) -> None:
    async with agent(tmp_path) as (port, path):
        before = descriptors()
        with contextlib.ExitStack() as held:
            for _ in range(4):
                await connected(port, said, HALF_OPEN // 4, held)
                await answers(port, path)
            # Ours are 2,000; what the agent holds of them is its listener's share.
            assert descriptors() - before - HALF_OPEN < 300
        await until_async(lambda: settled(before), 10, "all of them are closed")
        await answers(port, path)


async def settled(before: int) -> bool:
    return descriptors() <= before + 2


async def test_who_sends_a_header_byte_by_byte_is_left() -> None:
    """Progress is no excuse: the whole of the header has its time."""
    port = free_port()
    metrics = serve(f"127.0.0.1:{port}", Metrics(), lambda: "", Limits(head=0.2))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(metrics)
        await until_async(lambda: status(port), 5, "the port answers")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            writer.write(HEAD)
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await reader.read(1)
        assert time.monotonic() - began < patience(5)
        writer.close()
        task.cancel()

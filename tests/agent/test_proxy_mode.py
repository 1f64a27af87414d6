"""How Services are served, asked where kube-proxy is asked."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from steppe.agent.health import proxy_mode
from steppe.agent.health.proxy_mode import answer_mode
from tests.agent.test_health_ports import free_port
from tests.waiting import until_async


@asynccontextmanager
async def answering(port: int) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(answer_mode(port))
        try:
            yield
        finally:
            task.cancel()


async def ask(host: str, port: int, path: str = "/proxyMode") -> tuple[int, str] | None:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{port}{path}") as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return None


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_the_mode_is_told_on_loopback_and_nothing_else_is(host: str) -> None:
    port = free_port()
    async with answering(port):
        await until_async(lambda: ask(host, port), 10, "it answers")
        assert await ask(host, port) == (200, "nftables")
        other = await ask(host, port, "/metrics")
        assert other is not None
        assert other[0] == 404
    assert await ask(host, port) is None


async def test_a_port_that_another_proxy_has_is_taken_once_it_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(proxy_mode, "RETRY_SECONDS", 0.01)
    caplog.set_level("INFO")
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        async with answering(port):
            await until_async(lambda: ask("[::1]", port), 10, "the other family is served")
            taken.close()
            await until_async(lambda: ask("127.0.0.1", port), 10, "the port is taken")
    assert caplog.text.count("no-proxy-mode") == 1

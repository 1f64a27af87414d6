"""What a load balancer is told of a whole node, on real sockets of loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from steppe.agent.health import proxy_health
from steppe.agent.health.proxy_health import LATE_SECONDS, Place, ProxyHealth
from tests.agent.test_health_ports import free_port
from tests.waiting import until_async


class Node:
    """What the rest of an agent would know."""

    busy = 0.0
    leaving = False


@asynccontextmanager
async def serving(node: Node, place: Place) -> AsyncIterator[ProxyHealth]:
    health = ProxyHealth("node-a", place, busy=lambda: node.busy, leaving=lambda: node.leaving)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(health.run())
        try:
            yield health
        finally:
            task.cancel()


async def ask(url: str) -> tuple[int, dict[str, Any]] | None:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.json()
    except aiohttp.ClientConnectionError:
        return None


async def told(port: int) -> tuple[int, bool, int]:
    """What /healthz says, whether it finds the node eligible, and what /livez says."""
    for host in ("[::1]", "127.0.0.1"):
        url = f"http://{host}:{port}"
        await until_async(lambda u=url: ask(f"{u}/healthz"), 5, f"{url} answers")
    healthz, livez = await ask(f"{url}/healthz"), await ask(f"{url}/livez")
    assert healthz is not None
    assert livez is not None
    assert healthz[1].keys() == {"lastUpdated", "currentTime", "nodeEligible"}
    assert livez[1].keys() == {"lastUpdated", "currentTime"}
    return healthz[0], healthz[1]["nodeEligible"], livez[0]


async def test_a_node_takes_traffic_until_it_is_being_deleted() -> None:
    """ "kube-proxy's load balancer health check endpoint returns 200 if … the node is not being
    deleted (there is no deletion timestamp set for the Node)." The agent itself is well.
    """
    node, port = Node(), free_port()
    async with serving(node, Place("", port)):
        assert await told(port) == (200, True, 200)
        node.leaving = True
        assert await told(port) == (503, False, 200)
        node.leaving = False
        assert await told(port) == (200, True, 200)


async def test_a_node_whose_kernel_is_not_kept_in_step_takes_no_traffic() -> None:
    """ "it's able to progress programming the network and isn't timing out while doing so" """
    node, port = Node(), free_port()
    async with serving(node, Place("", port)) as health:
        node.busy = LATE_SECONDS - 1
        assert await told(port) == (200, True, 200)
        node.busy = LATE_SECONDS + 1
        assert await told(port) == (503, True, 503)
        assert not health.healthy


async def test_a_port_that_another_proxy_has_is_taken_over_when_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy_health, "RETRY_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving(Node(), Place("127.0.0.1", port)) as health:
            await until_async(lambda: _is(health.problems), 5, "there is a Problem")
            (problem,) = health.problems
            assert str(problem.cause) == "Node/node-a"
            assert f"port {port}" in problem.message
            taken.close()
            await until_async(lambda: ask(f"http://127.0.0.1:{port}/livez"), 5, "it answers")
            assert health.problems == ()


async def _is(value: object) -> bool:
    return bool(value)

"""What a load balancer is told of this node, on real sockets of loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import aiohttp
import msgspec
import pytest

from steppe.agent.health import health_ports
from steppe.agent.health.health_ports import HealthPortServer
from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import Node
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.settings import Settings
from tests.waiting import patience, until_async

V4, V6 = ip_address("127.0.0.1"), ip_address("::1")
NODE = Node("node-a", addresses=(V4, V6))
HERE4, HERE6, THERE = map(ip_address, ("10.244.1.5", "fd00:1::5", "10.244.2.5"))


def free_port() -> int:
    """A port that nobody has now on either loopback address."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def web(port: int, name: str = "web", created: str = "") -> Service:
    return Service(
        namespace="default",
        name=name,
        created=created,
        cluster_ips=(ip_address("10.96.0.10"), ip_address("fd00:10:96::a")),
        ports=(ServicePort("http", "TCP", 80), ServicePort("https", "TCP", 443)),
        external_local=True,
        health_port=port,
    )


def endpoints(*known: Endpoint, slice_name: str = "web-1") -> EndpointSlice:
    ports = (("http", "TCP", 8080), ("https", "TCP", 8443))
    return EndpointSlice("default", slice_name, "web", ports, known)


READY = (
    Endpoint(HERE4, "node-a"),
    Endpoint(HERE6, "node-a"),
    Endpoint(THERE, "node-b"),
)


@asynccontextmanager
async def serving(
    *services: Service, healthy: bool = True
) -> AsyncIterator[tuple[HealthPortServer, NodeCompiler]]:
    compiler = NodeCompiler(Settings(fabric="direct"), NODE.name)
    compiler.set_node(NODE)
    for service in services:
        compiler.set_service(service)
    compiler.set_slice(endpoints(*READY))
    server = HealthPortServer(compiler, lambda: healthy)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run())
        server.changed()
        try:
            yield server, compiler
        finally:
            task.cancel()


async def ask(port: int, host: str = "127.0.0.1") -> tuple[int, Any, str] | None:
    """Status, body and weight; None where nobody listens."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{port}/healthz") as answer,
        ):
            weight = answer.headers["X-Load-Balancing-Endpoint-Weight"]
            return answer.status, await answer.json(), weight
    except aiohttp.ClientConnectionError:
        return None


async def opened(port: int) -> None:
    async def both() -> bool:
        return None not in (await ask(port), await ask(port, "[::1]"))

    await until_async(both, 30, f"port {port} answers")


async def closed(port: int) -> None:
    async def neither() -> bool:
        return await ask(port) is None and await ask(port, "[::1]") is None

    await until_async(neither, 30, f"port {port} is closed")


async def told(server: HealthPortServer, count: int = 1) -> None:
    async def as_many() -> bool:
        return len(server.problems) == count

    await until_async(as_many, 30, f"there are {count} Problems")


async def test_a_server_that_is_started_again_opens_its_ports_again() -> None:
    port = free_port()
    async with serving(web(port)) as (server, _):
        await opened(port)
    await closed(port)
    async with asyncio.TaskGroup() as tasks:
        again = tasks.create_task(server.run())
        await opened(port)
        again.cancel()
    await closed(port)


async def test_a_node_with_endpoints_says_how_many_and_counts_pods_not_ports() -> None:
    port = free_port()
    async with serving(web(port)) as (_, compiler):
        await opened(port)
        body = {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": 1,
            "serviceProxyHealthy": True,
        }
        assert await ask(port) == (200, body, "1")
        assert await ask(port, "[::1]") == (200, body, "1")
        again = Endpoint(ip_address("10.244.1.6"), "node-a")
        compiler.set_slice(endpoints(READY[0], again, slice_name="web-2"))
        assert await ask(port) == (200, body | {"localEndpoints": 2}, "2")


NOT_READY = {
    "none": (),
    "on another node": (READY[2],),
    "not ready": (Endpoint(HERE4, "node-a", ready=False, serving=False),),
    "terminating though serving": (
        Endpoint(HERE4, "node-a", ready=False, serving=True, terminating=True),
    ),
    "of the other family": (READY[1],),
}


@pytest.mark.parametrize("what", NOT_READY)
async def test_a_node_without_ready_endpoints_says_503(what: str) -> None:
    port = free_port()
    async with serving(web(port)) as (_, compiler):
        compiler.set_slice(endpoints(*NOT_READY[what]))
        await opened(port)
        status, body, weight = await ask(port) or (0, {}, "")
        assert (status, body["localEndpoints"], weight) == (503, 0, "0")


async def test_ports_open_and_close_as_services_come_change_and_go() -> None:
    port, other = free_port(), free_port()
    async with serving() as (server, compiler):
        compiler.set_service(web(port))
        server.changed()
        await opened(port)
        compiler.set_service(web(other))
        server.changed()
        await opened(other)
        await closed(port)
        # "This field … is cleared" when the policy is no longer Local; one that stays is ignored.
        compiler.set_service(msgspec.structs.replace(web(other), external_local=False))
        server.changed()
        await closed(other)
        compiler.set_service(web(other))
        server.changed()
        await opened(other)
        compiler.remove_service("default", "web")
        server.changed()
        await closed(other)
    assert server.problems == ()


async def test_a_connection_does_not_outlive_its_port() -> None:
    port = free_port()
    async with serving(web(port)) as (server, compiler):
        await opened(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        compiler.remove_service("default", "web")
        server.changed()
        await closed(port)
        writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        async with asyncio.timeout(patience(30)):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404")


async def test_no_port_is_left_open_by_an_agent_that_ends() -> None:
    port = free_port()
    async with serving(web(port)):
        await opened(port)
    assert await ask(port) is None


async def test_a_port_that_is_taken_is_a_problem_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health_ports, "RETRY_SECONDS", 0.001)
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        async with serving(web(number, "api"), web(port)) as (server, _):
            await opened(port)
            await told(server)
            (problem,) = server.problems
            assert str(problem.cause) == "Service/default/api spec.healthCheckNodePort"
            assert f"127.0.0.1 port {number}" in problem.message
            for _ in range(20):  # tried again and again, and a Problem all the while
                assert server.problems == (problem,)
                assert await ask(number, "[::1]") is not None
            taken.close()
            await opened(number)
            await told(server, count=0)


async def test_of_two_services_with_one_port_the_older_answers() -> None:
    port = free_port()
    services = (web(port, "new", "2026-02-01"), web(port, created="2026-01-01"))
    async with serving(*services) as (server, _):
        await opened(port)
        answer = await ask(port)
        assert answer is not None
        assert answer[1]["service"]["name"] == "web"
        await told(server)
        (problem,) = server.problems
        assert problem.cause.ref.name == "new"
        assert "Service/default/web, which is older" in problem.message


async def test_a_proxy_that_is_not_healthy_has_no_endpoints_to_offer() -> None:
    port = free_port()
    async with serving(web(port), healthy=False):
        await opened(port)
        status, body, _ = await ask(port) or (0, {}, "")
        assert (status, body["localEndpoints"], body["serviceProxyHealthy"]) == (503, 1, False)

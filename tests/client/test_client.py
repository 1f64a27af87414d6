import asyncio
import gc
from asyncio.sslproto import SSLProtocol

import pytest
from aiohttp import web

from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.resources import CRDS, NODES, PODS, Resource
from tests.client.fake_api import fake_api, status


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (PODS, ("ns", "p", "status"), "/api/v1/namespaces/ns/pods/p/status"),
        (PODS, ("", "", ""), "/api/v1/pods"),
        (NODES, ("ns", "n", ""), "/api/v1/nodes/n"),
        (CRDS, ("", "x", ""), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x"),
        (Resource("", "v1", "pods", "Pod"), ("../x", "a/b?", ""),
         "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3F"),
    ],
)  # fmt: skip
def test_paths(resource: Resource, where: tuple[str, str, str], path: str) -> None:
    assert resource.path(*where) == path


@pytest.mark.parametrize(
    ("code", "reason", "yes"),
    [
        (404, "NotFound", "not_found"),
        (409, "Conflict", "conflict"),
        (409, "AlreadyExists", "already_exists"),
        (410, "Expired", "gone"),
    ],
)
async def test_refusals_are_distinguished(code: int, reason: str, yes: str) -> None:
    async with fake_api() as (api, client):
        api.refuse = lambda _: web.json_response(status(code, reason, "why"), status=code)
        with pytest.raises(ApiError, match="why") as raised:
            await client.get(NODES, "a")
        truths = {n for n in ("not_found", "conflict", "already_exists", "gone")
                  if getattr(raised.value, n)}  # fmt: skip
        assert truths == {yes}


async def test_a_refusal_that_is_no_status_is_quoted_and_names_no_token() -> None:
    async with fake_api() as (api, client):
        api.refuse = lambda _: web.Response(text="<html>proxy", status=502)
        with pytest.raises(ApiError, match="<html>proxy") as raised:
            await client.get(NODES, "a")
        assert api.requests[0].headers["Authorization"] == "Bearer s3cr3t"
        assert "s3cr3t" not in str(raised.value)


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    async with fake_api() as (api, client):
        await api.put("/api/v1/nodes", "a")

        def once(_: web.Request) -> web.Response | None:
            if len(api.requests) > 1:
                return None
            return web.json_response(status(429, "TooManyRequests"), status=429)

        api.refuse = once
        assert (await client.get(NODES, "a"))["metadata"]["name"] == "a"


async def test_a_server_that_is_not_there_is_unreachable(unused_tcp_port: int) -> None:
    config = Config(server=f"http://127.0.0.1:{unused_tcp_port}", token="s3cr3t")
    async with Client(config) as client:
        with pytest.raises(UnreachableError) as raised:
            await client.get(NODES, "a")
        assert "s3cr3t" not in str(raised.value)


async def test_tries_that_end_in_mid_handshake_leave_no_buffers_behind() -> None:
    """Each has 256 KiB of them, and an agent without its API server has eight lists to try for."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gc.collect()
    gc.disable()
    try:
        async with server, Client(Config(server=f"https://127.0.0.1:{port}")) as client:
            for _ in range(10):
                with pytest.raises(UnreachableError, match=r"and closes it again$"):
                    await client.get(NODES, "a")
        alive = [found for found in gc.get_objects() if isinstance(found, SSLProtocol)]
    finally:
        gc.enable()
    assert len(alive) <= 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closes it again|disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "broke off in mid-answer$"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", "mid-answer$"),
    ],
)
async def test_a_server_that_breaks_off_is_told_in_plain_words(answer: bytes, says: str) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(break_off, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client(Config(server=f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(UnreachableError, match=says) as raised:
            await client.get(NODES, "a")
    assert "400" not in str(raised.value)
    assert "None" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("merge", "application/merge-patch+json"),
        ("strategic", "application/strategic-merge-patch+json"),
        ("json", "application/json-patch+json"),
        ("apply", "application/apply-patch+yaml"),
    ],
)
async def test_each_patch_says_its_kind(kind: str, content_type: str) -> None:
    async with fake_api() as (api, client):
        await api.put("/api/v1/nodes", "a")
        await client.patch(NODES, "a", {"spec": {"x": 1}}, kind=kind)
        request = api.requests[-1]
        assert request.content_type == content_type
        assert request.query["fieldManager"] == "steppe"
        assert ("force" in request.query) == (kind == "apply")


async def test_deletion_names_grace_and_uid() -> None:
    async with fake_api() as (api, client):
        bodies = []

        async def write(request: web.Request) -> web.Response:
            bodies.append(await request.json())
            return web.json_response({})

        api._write = write  # type: ignore[method-assign]
        await client.delete(PODS, "p", "ns", grace_period=0, uid="u", propagation="Orphan")
        assert bodies[0]["gracePeriodSeconds"] == 0
        assert bodies[0]["preconditions"] == {"uid": "u"}
        assert bodies[0]["propagationPolicy"] == "Orphan"

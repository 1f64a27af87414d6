"""The OpenAPI document that kubectl before 1.27 asks for; Debian 12's is 1.20."""

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from steppe.client.config import load_config
from tests.apiserver.cluster import Server

ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.fixture
async def session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    config = load_config(str(server.kubeconfig))
    headers = {"Authorization": f"Bearer {config.token}"}
    connector = aiohttp.TCPConnector(ssl=config.ssl_context() or True)
    async with aiohttp.ClientSession(config.server, headers=headers, connector=connector) as open_:
        yield open_


async def test_a_client_that_reads_protobuf_only_gets_protobuf(session: aiohttp.ClientSession):
    async with session.get("/openapi/v2", headers={"Accept": ASKED}) as response:
        body = await response.read()
    assert response.status == 200
    # What Go's mime.ParseMediaType takes; "@" is an error there, and kubectl gives up.
    assert re.fullmatch(r"[a-z0-9.+/-]+", response.headers["Content-Type"].split(";")[0])
    # Document { swagger: "2.0", info { title, version }, paths {} }, as gnostic numbers its fields.
    assert body == b"\x0a\x032.0\x12\x19\x0a\x0aKubernetes\x12\x0bunversioned\x42\x00"


async def test_everyone_else_gets_json(session: aiohttp.ClientSession):
    async with session.get("/openapi/v2") as response:
        assert (await response.json())["swagger"] == "2.0"

"""The OpenAPI document that kubectl before 1.27 asks for; Debian 12's is 1.20."""

import re

import pytest

from tests.apiserver.cluster import Remote, Server
from tests.apiserver.contract.http import connected

ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.mark.embedded_only("it says that it describes nothing; others describe all kinds")
async def test_a_client_that_reads_protobuf_only_gets_protobuf(server: Server | Remote) -> None:
    async with connected(server.kubeconfig) as http:
        asked = {"Accept": ASKED}
        async with http.session.get(f"{http.url}/openapi/v2", headers=asked) as response:
            body = await response.read()
    assert response.status == 200
    # What Go's mime.ParseMediaType takes; "@" is an error there, and kubectl gives up.
    assert re.fullmatch(r"[a-z0-9.+/-]+", response.headers["Content-Type"].split(";")[0])
    # Document { swagger: "2.0", info { title, version }, paths {} }, as gnostic numbers its fields.
    assert body == b"\x0a\x032.0\x12\x19\x0a\x0aKubernetes\x12\x0bunversioned\x42\x00"


async def test_everyone_else_gets_json(server: Server | Remote) -> None:
    async with connected(server.kubeconfig) as http:
        assert (await http("GET", "/openapi/v2"))["swagger"] == "2.0"

"""Requests that cost more than they seem to, or make no sense: answered, and nobody is held up."""

import asyncio
import base64
import contextlib
import json
import stat
import string
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.apiserver.cluster import Remote, Server
from tests.apiserver.contract.http import Http, config_map, connected, fresh
from tests.unit.test_document_limits import LAUGHS, MERGES
from tests.waiting import patience

NAMESPACE = fresh("odd")
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
pytestmark = pytest.mark.embedded_only("another server has limits of its own")


@pytest.fixture
async def http(server: Server | Remote) -> AsyncIterator[Http]:
    async with connected(server.kubeconfig) as client:
        yield client


async def send(
    http: Http, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
) -> tuple[int, str]:
    """The status and the message, within a time."""
    async with (
        asyncio.timeout(patience(10)),
        http.session.request(
            method, http.url + path, data=body, headers={"Content-Type": content_type}
        ) as answer,
    ):
        return answer.status, (await answer.json()).get("message", "")


def doubling(times: int) -> list[dict[str, str]]:
    """Each copies all there is into itself."""
    copies = [
        {"op": "copy", "from": "/metadata/annotations", "path": f"/metadata/annotations/{n}"}
        for n in range(times)
    ]
    return [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x" * 100}}, *copies]


@pytest.mark.parametrize(
    ("patch", "code", "says"),
    [
        (doubling(30), 413, "the copies of a JSON patch are larger than"),
        (
            [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001,
            413,
            "maximum operations",
        ),
        ([{"op": "copy", "path": "/data"}], 400, "invalid JSON patch"),
        ([7], 400, "invalid JSON patch"),
        ([{"op": ["copy"], "from": "/x", "path": "/y"}], 400, "invalid JSON patch"),
        ([{"op": "copy", "from": "/nothing", "path": "/data"}], 422, "due to an error in our"),
    ],
)
async def test_a_json_patch_is_bounded(http: Http, patch: Any, code: int, says: str) -> None:
    name = fresh("patched")
    await http.create(MAPS, config_map(name))
    began = time.monotonic()
    status, message = await send(
        http, "PATCH", f"{MAPS}/{name}", json.dumps(patch).encode(), JSON_PATCH
    )
    assert status == code, message
    assert says in message
    assert time.monotonic() - began < patience(2)


@pytest.mark.parametrize(
    ("method", "body", "content_type"),
    [
        ("POST", b'{"metadata":' + b"[" * 100_000, "application/json"),
        ("POST", b'{"data":' + b'{"a":' * 200 + b"1" + b"}" * 201, "application/json"),
        ("POST", b"- " * 100_000, "application/yaml"),
        ("POST", b"[" * 100_000, "application/yaml"),
        ("POST", LAUGHS, "application/yaml"),
        ("POST", MERGES, "application/yaml"),
        ("POST", b"a: &a [*a]", "application/yaml"),
        ("PATCH", b"[" * 100_000, APPLY),
        ("PATCH", LAUGHS, APPLY),
        ("PATCH", b"[" * 100_000, JSON_PATCH),
        ("PATCH", b'{"a":' * 100_000, "application/merge-patch+json"),
        ("PATCH", b'{"a":' * 100_000, "application/strategic-merge-patch+json"),
    ],
)  # fmt: skip
async def test_what_is_nested_too_deeply_is_a_bad_request(
    http: Http, method: str, body: bytes, content_type: str
) -> None:
    name = fresh("deep")
    path = MAPS
    if method == "PATCH":
        await http.create(MAPS, config_map(name))
        path = f"{MAPS}/{name}?fieldManager=test"
    status, message = await send(http, method, path, body, content_type)
    assert status == 400, message


async def test_patches_cannot_pile_up_levels(http: Http) -> None:
    name = fresh("piled")
    await http.create(MAPS, config_map(name))
    inner = "/metadata"
    for _ in range(3):
        patch = []
        for _ in range(50):
            patch.append({"op": "add", "path": f"{inner}/a", "value": {}})
            inner += "/a"
        status, message = await send(
            http, "PATCH", f"{MAPS}/{name}", json.dumps(patch).encode(), JSON_PATCH
        )
        assert status in {200, 400, 422}, message
    assert status != 200


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=1.5", "limit=1_0", "limit=inf", "limit=%D9%A3", "limit=" + "9" * 5000,
        "watch=1&timeoutSeconds=inf", "watch=1&timeoutSeconds=nan", "watch=1&timeoutSeconds=-1",
        "watch=1&timeoutSeconds=1e3", "watch=1&timeoutSeconds=" + "9" * 400,
        "resourceVersion=-1", "resourceVersion=1_0", "watch=1&resourceVersion=inf",
        "continue=x", "continue=" + base64.urlsafe_b64encode(b"[" * 3000).decode(),
        "fieldSelector=a",
    ],
)  # fmt: skip
async def test_numbers_that_are_none_are_bad_requests(http: Http, query: str) -> None:
    status, message = await send(http, "GET", f"{MAPS}?{query}")
    assert status == 400, message


async def test_the_longest_times_are_no_fault(http: Http) -> None:
    most = (1 << 63) - 1
    async with http.session.get(f"{http.url}{MAPS}?watch=1&timeoutSeconds={most}") as answer:
        assert answer.status == 200
    name = fresh("grace")
    await http.create(MAPS, config_map(name))
    status, _ = await send(http, "DELETE", f"{MAPS}/{name}?gracePeriodSeconds={most}")
    assert status == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "name", "data", "labels", "op", "path", "from", "spec", "$patch"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_QUERY = st.dictionaries(
    st.sampled_from([
        "limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector",
        "fieldSelector", "dryRun", "fieldManager", "force", "gracePeriodSeconds", "watch",
        "includeObject", "propagationPolicy", "fieldValidation", "sendInitialEvents",
    ]),
    st.sampled_from(["", "0", "1", "-1", "inf", "true", "All", "NotOlderThan", "Exact", "a=b"])
    | st.text(string.printable, max_size=6),
    max_size=4,
)  # fmt: skip
_TYPES = st.sampled_from(
    [
        "application/json", "application/yaml", JSON_PATCH, APPLY, "", "text/plain",
        "application/merge-patch+json", "application/strategic-merge-patch+json",
        "application/vnd.kubernetes.protobuf",
    ]
)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asked=st.tuples(
        st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
        st.sampled_from([MAPS, f"{MAPS}/fuzzed"]),
        _QUERY,
        _JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30),
        _TYPES,
    )
)
def test_no_request_is_a_fault_of_the_server(
    server: Server | Remote, asked: tuple[str, str, dict[str, str], bytes, str]
) -> None:
    """Whatever is asked: an answer within a time, which is not 500."""

    async def ask() -> None:
        method, path, query, body, content_type = asked
        if query.get("watch") in {"1", "true"}:
            query = query | {"timeoutSeconds": "1"}
        headers = {"Content-Type": content_type}
        async with connected(server.kubeconfig) as http, asyncio.timeout(patience(10)):
            async with http.session.post(http.url + MAPS, json=config_map("fuzzed")):
                pass
            async with http.session.request(
                method, http.url + path, params=query, data=body, headers=headers
            ) as answer:
                assert answer.status < 500 or answer.status == 504, await answer.text()

    asyncio.run(ask())


async def test_half_open_connections_keep_nobody_from_an_answer(
    http: Http, server: Server | Remote
) -> None:
    """Some that do not begin TLS, some that send half a request: others are answered."""
    where = urlsplit(http.url)
    async with contextlib.AsyncExitStack() as held:
        for _ in range(300):
            _, writer = await asyncio.open_connection(where.hostname, where.port)
            held.callback(writer.close)
        began = time.monotonic()
        async with connected(server.kubeconfig) as other:
            await other("GET", MAPS)
        assert time.monotonic() - began < patience(2)


async def test_state_is_its_owners_alone(server: Server | Remote) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    files = [path for path in server.data.iterdir() if path.name.startswith("state.db")]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

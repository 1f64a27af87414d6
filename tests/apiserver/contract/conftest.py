"""The server that a test module talks to, a namespace of the module's own, and kubectl.

The server is an embedded one, started for the module; or, where STEPPE_API_KUBECONFIG names a
kubeconfig, the server behind that. Tests that hold for the embedded one only say why, with
`@pytest.mark.embedded_only(REASON)`.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.cluster import Kubectl, Remote, Server
from tests.apiserver.contract.http import connected

GIVEN = os.environ.get("STEPPE_API_KUBECONFIG", "")
COLLECTIONS = (
    "apis/batch/v1/namespaces/{}/jobs",
    "apis/apps/v1/namespaces/{}/deployments",
    "api/v1/namespaces/{}/pods",
    "api/v1/namespaces/{}/services",
    "api/v1/namespaces/{}/configmaps",
)


@pytest.fixture(autouse=True)
def _only_where_it_holds(request: pytest.FixtureRequest) -> None:
    mark = request.node.get_closest_marker("embedded_only")
    if mark is not None and GIVEN:
        pytest.skip(f"of the embedded server only: {mark.args[0]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | Remote]:
    folder = tmp_path_factory.mktemp("apiserver")
    with _remote(folder) if GIVEN else _embedded(folder) as running:
        yield running


@contextlib.contextmanager
def _remote(folder: Path) -> Iterator[Remote]:
    yield Remote(Path(GIVEN), folder)


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Server]:
    running = Server(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
    assert "Traceback" not in running.log(), running.log()


@pytest.fixture(scope="module", autouse=True)
def _namespace(request: pytest.FixtureRequest, server: Server | Remote) -> Iterator[None]:
    """The namespace that a module calls NAMESPACE, there as long as the module runs."""
    name = getattr(request.module, "NAMESPACE", "")
    if not name:
        yield
        return
    asyncio.run(_make(server, name))
    yield
    if GIVEN:
        asyncio.run(_remove(server, name))


async def _make(server: Server | Remote, name: str) -> None:
    async with connected(server.kubeconfig) as http:
        await http.create("/api/v1/namespaces", {"metadata": {"name": name}})
        # Pods are admitted only where their account is. A controller may be faster.
        account = f"{http.url}/api/v1/namespaces/{name}/serviceaccounts"
        async with http.session.post(account, json={"metadata": {"name": "default"}}) as response:
            assert response.status in {201, 409}, await response.text()


async def _remove(server: Server | Remote, name: str) -> None:
    """The namespace, others whose names begin alike, and first what is in it.

    Without a controller for namespaces nobody else would empty it.
    """
    async with connected(server.kubeconfig) as http:
        for collection in COLLECTIONS:
            path = f"/{collection.format(name)}"
            await http("DELETE", path, {"gracePeriodSeconds": 0})
        for item in (await http("GET", "/api/v1/namespaces"))["items"]:
            if item["metadata"]["name"].startswith(name):
                await http("DELETE", f"/api/v1/namespaces/{item['metadata']['name']}")


@pytest.fixture(scope="module")
def kubectl(request: pytest.FixtureRequest, server: Server | Remote) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: the API is not tried with its main client")
    return Kubectl(server, request.module.NAMESPACE)

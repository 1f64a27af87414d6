"""A running server for each test module that asks for one, and kubectl to talk to it."""

import shutil
from collections.abc import Iterator

import pytest

from tests.apiserver.cluster import Kubectl, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("apiserver"))
    running.start()
    try:
        yield running
    finally:
        running.stop()
    assert "Traceback" not in running.log(), running.log()


@pytest.fixture(scope="module")
def kubectl(server: Server) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: the API is not tried with its main client")
    return Kubectl(server)

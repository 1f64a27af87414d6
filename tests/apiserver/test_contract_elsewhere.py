"""The contract suite against a server that it did not start: a few of its tests are enough here."""

import os
import subprocess
import sys
from pathlib import Path

from tests.apiserver.cluster import Server
from tests.apiserver.contract.http import connected

ROOT = Path(__file__).resolve().parents[2]
SUITE = "tests/apiserver/contract"
CHOSEN = (
    f"{SUITE}/test_openapi.py",
    f"{SUITE}/test_http.py::test_a_selector_sees_objects_come_and_go_by_their_labels",
)


async def test_the_suite_runs_against_the_server_of_a_kubeconfig(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHOSEN],
            env=os.environ | {"STEPPE_API_KUBECONFIG": str(server.kubeconfig)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "2 passed, 1 skipped" in done.stdout, done.stdout
        assert "of the embedded server only: it says that" in done.stdout
        async with connected(server.kubeconfig) as http:
            spaces = (await http("GET", "/api/v1/namespaces"))["items"]
            made = [item for item in spaces if item["metadata"]["name"].startswith("contract-")]
            # Made for the suite, and deleted: a controller for namespaces would do the rest.
            assert [item["status"]["phase"] for item in made] == ["Terminating"]
            left = await http("GET", f"/api/v1/namespaces/{made[0]['metadata']['name']}/configmaps")
            assert left["items"] == []
    finally:
        server.stop()

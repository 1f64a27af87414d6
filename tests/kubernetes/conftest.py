"""One cluster for all tests here; they run only by `make test-kubernetes`."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.embedded import EmbeddedPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import PROGRAMS, settings
from tests.kubernetes.workload import Workload, started


@pytest.fixture(scope="session")
def _asked_for() -> None:
    if not os.environ.get("STEPPE_KUBERNETES"):
        pytest.skip("needs Kubernetes' programs: make kubernetes, make test-kubernetes")


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Past pytest's capture: what takes long shows progress."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"  {text}")

    return write


@pytest.fixture(scope="session", params=["containerd", "kubernetes"])
def cluster(
    request: pytest.FixtureRequest, _asked_for: None, say: Callable[[str], None]
) -> Iterator[Cluster]:
    """containerd: the runtime with the embedded API server; kubernetes: all of it, kubelets too."""
    real = request.param == "kubernetes"
    try:
        known = settings(PROGRAMS if real else ("sandbox",))
        made = Cluster(known, ControlPlane if real else EmbeddedPlane, say)
    except HarnessError as error:
        pytest.exit(f"Error: {error}", returncode=1)  # once, not for each test
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def workload(cluster: Cluster) -> Workload:
    return started(cluster)

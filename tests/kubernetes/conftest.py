"""One cluster for all tests here; they run only by `make test-kubernetes`."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.control_plane import ApiServerAlone, ControlPlane
from tests.kubernetes.harness.embedded import EmbeddedPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.installed import Installed
from tests.kubernetes.harness.settings import PROGRAMS, settings
from tests.kubernetes.workload import Workload, started

FORMS: dict[str, tuple[tuple[str, ...], type[ControlPlane | EmbeddedPlane]]] = {
    "containerd": (("sandbox",), EmbeddedPlane),
    "api-server": (("sandbox", "etcd", "kube-apiserver"), ApiServerAlone),
    "kubernetes": (PROGRAMS, ControlPlane),
    "installed": (PROGRAMS, Installed),
}
"""What is real, from the runtime alone to kubelets and all: the programs of each, and its plane."""


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


@pytest.fixture(scope="session", params=list(FORMS))
def cluster(
    request: pytest.FixtureRequest, _asked_for: None, say: Callable[[str], None]
) -> Iterator[Cluster]:
    programs, plane = FORMS[request.param]
    try:
        made = Cluster(settings(programs), plane, say)
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


@pytest.fixture
def plane(cluster: Cluster) -> Installed:
    """For tests of the form `installed` alone."""
    if not isinstance(cluster.plane, Installed):
        pytest.skip("in this form the harness starts Steppe, and nothing is installed")
    return cluster.plane

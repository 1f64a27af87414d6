"""One cluster for all tests here; they run only by `make test-kubernetes`."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import settings
from tests.kubernetes.workload import Workload, started


@pytest.fixture(scope="session")
def _asked_for() -> None:
    if not os.environ.get("STEPPE_KUBERNETES"):
        pytest.skip("needs Kubernetes' programs: make kubernetes, make test-kubernetes")


@pytest.fixture(scope="session")
def cluster(_asked_for: None) -> Iterator[Cluster]:
    try:
        made = Cluster(settings(), say)
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


def say(text: str) -> None:
    """Past pytest's capture: what takes long shows progress."""
    sys.__stderr__.write(f"  {text}\n")
    sys.__stderr__.flush()

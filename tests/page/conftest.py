"""A headless Chromium, and pages of clusters of several sizes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.reach import cluster

from steppe.cli.reach_answer import Question, answer
from steppe.cli.reach_page import About, page
from steppe.manifests.cluster import Loaded
from steppe.reach.document import doubts_json, reach_document

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Without a network of its own the browser would try to update itself, again and again.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZES = {20: (1, 2), 1_000: (10, 10), 10_000: (100, 10)}
"""Pods: namespaces of ten workloads, and pods of each workload."""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Ended with the module: Playwright runs an event loop in this thread until then."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="`make test-page` installs it")
    if CHROMIUM is None:
        pytest.skip("no chromium: `make test-page` installs it")
    with sync_api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The page of a cluster with so many pods, as a file."""
    folder = tmp_path_factory.mktemp("pages")

    def write(pods: int) -> Path:
        path = folder / f"{pods}.html"
        if not path.exists():
            loaded = Loaded(cluster(*SIZES[pods]))
            found = answer(loaded, Question())
            flows = (flow for known in found.flows() for flow in known)
            said = reach_document(found.reach, found.names, flows, found.services())
            of = About("test", "2026-11-30 12:00 UTC", ("-f test/",))
            path.write_text(page(said | doubts_json(loaded), of))
        return path

    return write

"""`down` finds what belongs to a lab, all of it and nothing else, whatever state it is in."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from steppe_lab import netns, process
from steppe_lab.down import dismantle, down, labs
from steppe_lab.record import LabError, Process, locked, paths
from tests.waiting import until

pytestmark = pytest.mark.kernel

LAB = "pytest-down"
LONGER = f"{LAB}-b"  # its name starts alike


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    yield
    for lab in (LAB, LONGER):
        down(lab)
    _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _sleeper(lab: str, tmp_path: Path, namespace: str = "", script: str = "sleep 600") -> Process:
    return process.start(lab, "sleeper", ("/bin/sh", "-c", script), tmp_path / "log", namespace)


def test_processes_are_found_by_environment(tmp_path) -> None:
    one = _sleeper(LAB, tmp_path)
    assert down(LAB).processes >= 1
    assert not process.is_alive(one)


def test_processes_are_found_by_namespace_even_with_an_empty_environment(tmp_path) -> None:
    name = netns.namespace(LAB, "pod-0123abcd")
    netns.create((name,))
    one = _sleeper(LAB, tmp_path, name, "exec env -i sleep 600")
    comm = Path(f"/proc/{one.pid}/comm")
    until(lambda: comm.read_text() == "sleep\n", 5, "env runs sleep")
    assert process.lab_of(one.pid) == ""
    down(LAB)
    assert not process.is_alive(one)
    assert netns.namespaces_of_lab(LAB) == ()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path) -> None:
    marker = tmp_path / "ready"
    one = _sleeper(LAB, tmp_path, "", f"trap '' TERM; touch {marker}; while :; do sleep 1; done")
    until(marker.exists, 5, "the trap is set")
    down(LAB)
    assert not process.is_alive(one)


def test_a_lab_whose_name_only_starts_alike_is_left_alone(tmp_path) -> None:
    name = netns.namespace(LONGER, "fabric")
    netns.create((name,))
    paths(LONGER).root.mkdir(parents=True)
    other = _sleeper(LONGER, tmp_path, name)
    down(LAB)
    assert process.is_alive(other)
    assert netns.namespaces_of_lab(LONGER) == (name,)
    assert paths(LONGER).root.exists()


def test_a_damaged_record_is_no_obstacle() -> None:
    root = paths(LAB).root
    root.mkdir(parents=True)
    (root / "lab.json").write_text("{nonsense")
    assert LAB in labs()
    down(LAB)
    assert not root.exists()
    assert LAB not in labs()


def test_mounts_under_the_folder_are_undone() -> None:
    target = paths(LAB).root / "with blank"
    target.mkdir(parents=True)
    libc = netns._libc
    assert libc.mount(b"/proc/self/ns", os.fsencode(target), b"none", 0x1000, None) == 0
    down(LAB)
    assert not re.search(rf"/{LAB}/", Path("/proc/self/mountinfo").read_text())
    assert not target.exists()


def test_down_twice_is_fine() -> None:
    netns.create((netns.namespace(LAB, "fabric"),))
    assert down(LAB).namespaces == 1
    assert down(LAB).namespaces == 0


def test_a_lab_that_is_being_brought_up_is_not_taken_down() -> None:
    with locked(LAB), pytest.raises(LabError, match=str(os.getpid())):
        down(LAB)


def test_the_machines_own_namespace_is_never_taken_for_the_labs(tmp_path) -> None:
    # A stale file under /run/netns that leads to the machine's own namespace.
    netns.create((netns.namespace(LAB, "outside"),))
    name = netns.NETNS_DIR / netns.namespace(LAB, "fabric")
    name.touch()
    libc = netns._libc
    assert libc.mount(b"/proc/self/ns/net", os.fsencode(name), b"none", 0x1000, None) == 0
    other = _sleeper("pytest-other", tmp_path)
    try:
        dismantle(LAB)
        assert process.is_alive(other)
    finally:
        down("pytest-other")


@pytest.mark.parametrize("name", ["", "a/b", "..", "A", "a_b", "-a", "a-", "x" * 21])
def test_a_name_that_could_not_be_part_of_a_path_is_refused(name) -> None:
    with pytest.raises(LabError):
        down(name)

"""Labs of these tests are named after the test process, so that a crashed run is swept later."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from steppe_lab import netns

_NAME = re.compile(r"st-kt(\d+)-")


def end_processes(lab: str) -> None:
    """Kill what carries the lab's name in its environment, and nothing else."""
    wanted = f"STEPPE_LAB={lab}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def remove(lab: str) -> None:
    end_processes(lab)
    for name in netns.namespaces_of_lab(lab):
        netns.delete(name)


def sweep() -> None:
    """Remove the labs of test processes that are no more."""
    for path in netns.NETNS_DIR.glob("st-kt*"):
        match = _NAME.match(path.name)
        if match and not Path("/proc", match.group(1)).exists():
            remove(f"kt{match.group(1)}")


@pytest.fixture
def lab_name() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    sweep()
    name = f"kt{os.getpid()}"
    remove(name)
    yield name
    remove(name)

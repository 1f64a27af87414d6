"""Cgroups of nodes, in each hierarchy of version 1 below the one that this process is in."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import PREFIX

_ROOT = Path("/sys/fs/cgroup")
_TRIES = 50


def hierarchies() -> Iterator[Path]:
    """The folder of this process in each hierarchy (cgroups(7), /proc/PID/cgroup)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers and not (_ROOT / "unified").exists():
            raise HarnessError(
                "this machine has cgroup version 2 alone, where the harness does not work yet; "
                "boot with systemd.unified_cgroup_hierarchy=0"
            )
        name = controllers.removeprefix("name=") or "unified"
        yield _ROOT / name / path.lstrip("/")


def make(node: str) -> list[Path]:
    """The node's cgroup in each hierarchy."""
    made = []
    for above in hierarchies():
        folder = above / PREFIX / node
        folder.mkdir(parents=True, exist_ok=True)
        for cgroup in (folder.parent, folder):
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (cgroup / file).exists():
                    (cgroup / file).write_text((cgroup.parent / file).read_text())
        made.append(folder)
    return made


def remove() -> list[Path]:
    """Kill what is in cgroups of the harness, and remove them; returns those that stay."""
    roots = {path for above in _ROOT.iterdir() if above.is_dir() for path in above.rglob(PREFIX)}
    for _ in range(_TRIES):
        roots = {root for root in roots if root.exists()}
        if not roots:
            break
        for root in roots:
            _remove(root)
        time.sleep(0.1)
    return sorted(roots)


def _remove(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        # It stays busy until the kernel is done with the processes: tried again.
        with contextlib.suppress(OSError):
            Path(folder).rmdir()

"""Takes a lab down by what exists, not by its record.

Everything is found anew: processes by environment and namespace, namespaces by name, mounts by
path. So it works after `kill -9` of anything, without lab.json, and a second time.
"""

import re
import shutil
from pathlib import Path

import msgspec

from steppe_lab import netns, process
from steppe_lab.record import LABS_DIR, locked, paths


class Removed(msgspec.Struct, frozen=True):
    """What `down` found and removed."""

    processes: int
    namespaces: int
    existed: bool


def down(lab: str) -> Removed:
    """Remove every process, namespace, link, mount and file of a lab."""
    paths(lab)
    with locked(lab):
        return dismantle(lab)


def dismantle(lab: str) -> Removed:
    """As down, for the caller who holds the lab's lock."""
    root = paths(lab).root
    existed = root.exists()
    ended = process.end_all(lab)
    for mount in _mounts_under(root):
        netns.unmount(mount)
    names = netns.namespaces_of_lab(lab)
    for name in names:
        netns.delete(name)
    netns.release_dir()
    if existed:
        shutil.rmtree(root)
    return Removed(ended, len(names), existed)


def labs() -> tuple[str, ...]:
    """Every lab that left any trace: a folder, a namespace or a process."""
    found = process.labs_of_processes()
    if LABS_DIR.is_dir():
        found |= {entry.name for entry in LABS_DIR.iterdir() if entry.is_dir()}
    if netns.NETNS_DIR.is_dir():
        names = (netns.lab_of_namespace(entry.name) for entry in netns.NETNS_DIR.iterdir())
        found |= {name for name in names if name}
    return tuple(sorted(found))


def _mounts_under(root: Path) -> list[Path]:
    """The mount points in a folder, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # proc(5): field 5 is the mount point; blanks and backslashes in it are written as octal.
    points = (Path(_unescaped(line.split()[4])) for line in lines)
    return sorted((p for p in points if p.is_relative_to(root)), key=str, reverse=True)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

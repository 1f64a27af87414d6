"""Network namespaces: creates them, runs code inside them, finds the lab they belong to.

A thread enters a namespace, never the process: setns(2) moves the calling thread only, so the
rest of the lab stays in the machine's own namespace. Programs started and sockets made by such a
thread belong to the namespace it has entered.

Names are laid out as `ip netns` does (a bind mount under /run/netns), so that `ip -n`,
`ip netns exec` and people find them.
"""

import contextlib
import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from steppe.drivers.netlink import netns as steppe_netns
from steppe.drivers.netlink.netns import NetnsError, in_thread

NETNS_DIR = Path("/run/netns")
PREFIX = "st-"
# Says that the mount of /run/netns onto itself is ours to undo.
_DIR_MOUNT_MARK = Path("/run/steppe/mounted-run-netns")

_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 1 << 20
_MNT_DETACH = 0x2

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


def namespace(lab: str, host: str) -> str:
    """The namespace of a lab's host: a node, `fabric` or `outside`."""
    return f"{PREFIX}{lab}-{host}"


def lab_of_namespace(name: str) -> str:
    """The lab a namespace belongs to; empty for namespaces that are none of ours.

    Matched whole: as a prefix, lab `a` would claim `st-a-b-fabric`, which is of lab `a-b`.
    """
    hosts = r"fabric|outside|node-[a-z]{1,2}|pod-[0-9a-f]{8}"
    match = re.fullmatch(f"{PREFIX}(.+)-({hosts})", name)
    return match[1] if match else ""


def namespaces_of_lab(lab: str) -> tuple[str, ...]:
    """The namespaces of a lab that have a name under /run/netns."""
    if not NETNS_DIR.is_dir():
        return ()
    return tuple(sorted(p.name for p in NETNS_DIR.iterdir() if lab_of_namespace(p.name) == lab))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise NetnsError(f"{what}: {os.strerror(number)}")


def enter(name: str) -> None:
    """Move the calling thread into a named namespace."""
    try:
        fd = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetnsError(f"network namespace {name}: {error.strerror}") from error
    try:
        steppe_netns.enter(fd, f"network namespace {name}")
    finally:
        os.close(fd)


def inside(name: str, work: Callable[[], _T]) -> _T:
    """The result of work done inside a namespace."""

    def body() -> _T:
        enter(name)
        return work()

    return in_thread(body)


def create(names: tuple[str, ...]) -> None:
    """Make namespaces, each with a name under /run/netns."""
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    _mount_netns_dir()

    def body() -> None:
        for name in names:
            _create_from_this_thread(name)

    in_thread(body)


def _mount_netns_dir() -> None:
    """Make /run/netns a shared mount of its own, as `ip netns add` does.

    Whoever runs `ip netns add` later would otherwise mount it over our names and hide them.
    """
    directory = os.fsencode(NETNS_DIR)
    if _libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _DIR_MOUNT_MARK.parent.mkdir(mode=0o700, exist_ok=True)
    _DIR_MOUNT_MARK.touch()
    bound = _libc.mount(directory, directory, b"none", _MS_BIND | _MS_REC, None)
    _check(bound, f"mount {NETNS_DIR} onto itself")
    shared = _libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    _check(shared, f"make {NETNS_DIR} a shared mount")


def release_dir() -> None:
    """Undo our mount of /run/netns onto itself once nobody has a namespace there."""
    if not _DIR_MOUNT_MARK.exists() or any(NETNS_DIR.iterdir()):
        return
    # Not detached by force: it stays, and so does the mark, if someone is using it just now.
    if _libc.umount2(os.fsencode(NETNS_DIR), 0) == 0:
        _DIR_MOUNT_MARK.unlink(missing_ok=True)


def _create_from_this_thread(name: str) -> None:
    path = NETNS_DIR / name
    try:
        path.touch(mode=0o444, exist_ok=False)
    except FileExistsError as error:
        raise NetnsError(f"network namespace {name} exists already") from error
    try:
        steppe_netns.enter_new(f"network namespace {name}")
        mounted = _libc.mount(
            b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None
        )
        _check(mounted, f"name network namespace {name}")
    except NetnsError:
        path.unlink(missing_ok=True)
        raise


def delete(name: str) -> None:
    """Remove a namespace's name; the kernel frees it when no process is left inside."""
    path = NETNS_DIR / name
    unmount(path)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def unmount(path: Path) -> None:
    """Detach every mount on a path; a path without any is fine."""
    # umount2(2) takes the topmost mount only, and EINVAL says there is none left.
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass


def identity(path: Path) -> tuple[int, int] | None:
    """The identity of a namespace: its device and inode; None if it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino

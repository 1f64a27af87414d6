"""The mount namespace that all containers start from.

A copy of the machine's mounts without the bind mounts of network namespaces: a container with
copies of those would keep the namespaces of deleted pods alive.
"""

import ctypes
import os
from pathlib import Path

from steppe.drivers.netlink.netns import in_thread
from steppe.errors import SteppeError
from steppe_lab.kubelet.process import above_standard
from steppe_lab.netns import NETNS_DIR

_CLONE_NEWNS = 0x00020000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class MountError(SteppeError):
    """The kernel refused a mount namespace."""


def template() -> int:
    """A file descriptor of a fresh mount namespace, which lives as long as it is open."""
    # A thread of its own: unshare(CLONE_NEWNS) moves it for good, and it ends here.
    return in_thread(_make)


def _make() -> int:
    _check(_libc.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    # A slave follows what the host mounts and unmounts later, and tells the host nothing.
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "make / a slave")
    for path in _network_namespaces():
        _libc.umount2(os.fsencode(path), _MNT_DETACH)
    if NETNS_DIR.is_dir():
        # Else `ip` would look at the names left there and complain about each.
        options = b"mode=755,size=4k"
        _check(_libc.mount(b"tmpfs", os.fsencode(NETNS_DIR), b"tmpfs", 0, options), "mount tmpfs")
    return above_standard(os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))


def _network_namespaces() -> list[str]:
    """Mount points of type nsfs; field 5 is the point, the type follows the separator `-`."""
    found = []
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "nsfs":
            found.append(fields[4].replace("\\040", " "))
    return found


def _check(result: int, what: str) -> None:
    if result != 0:
        raise MountError(f"{what}: {os.strerror(ctypes.get_errno())}")

"""The network namespaces of a machine in memory: those of pods, beside the node's own.

paths ──▶ inodes ──▶ kernels        a path may come to lead to another namespace
"""

import contextlib
from collections.abc import Iterator

from steppe.drivers.fake import FakeKernel
from steppe.drivers.namespaces import Netns
from steppe.drivers.netlink.netns import NetnsError
from steppe.drivers.scope import Scope, pod
from steppe.state.link import LinkKey

OWN = "/proc/1/ns/net"
"""Leads to the node's own namespace."""
_FIRST_INODE = 4026532000
_DEVICE = 4


class FakeNamespaces:
    """Namespaces that exist in memory only; a descriptor is the inode's number."""

    def __init__(self, host: FakeKernel) -> None:
        self._host = host
        self._paths: dict[str, int] = {OWN: _FIRST_INODE}
        self._kernels: dict[int, FakeKernel] = {_FIRST_INODE: host}
        self._next = _FIRST_INODE
        host.inside = self._kernels

    def make(self, path: str) -> FakeKernel:
        """A new pod's namespace; whatever the path led to before has another name now, or none."""
        self._next += 1
        made = FakeKernel(scope=pod())
        made.inside = self._kernels
        self._paths[path] = self._next
        self._kernels[self._next] = made
        return made

    def end(self, path: str) -> None:
        """The pod's last process ends: the namespace goes, and its veth pairs with it."""
        gone = self._kernels.pop(self._paths.pop(path))
        for name in gone.aliases():
            gone.remove(LinkKey(name))

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[Netns]:
        if path not in self._paths:
            raise NetnsError(f"network namespace {path}: No such file or directory")
        inode = self._paths[path]
        yield Netns(inode, _DEVICE, inode)

    def is_own(self, netns: Netns) -> bool:
        return self._kernels[netns.fd] is self._host

    def named(self) -> tuple[str, ...]:
        return tuple(sorted(self._paths))

    @contextlib.contextmanager
    def driver(self, netns: Netns, scope: Scope) -> Iterator[FakeKernel]:
        del scope  # each of these kernels has the one it was made with
        yield self._kernels[netns.fd]

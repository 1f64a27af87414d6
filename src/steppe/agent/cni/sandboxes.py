"""Remembers the network namespaces of pods, in case a link has to be made again.

Deleting one end of a veth pair deletes both, so after that nothing in the kernel leads to the pod.
So the path of each pod's namespace is remembered from its ADD on. After a restart it is found among
the namespaces that have a name, by the number (nsid) that the link reports. No file is kept open:
it would keep a namespace alive after its pod.
"""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from steppe.drivers.errors import KernelError
from steppe.drivers.namespaces import Host, Namespaces, Netns
from steppe.drivers.netlink.netns import NetnsError


class Sandbox(msgspec.Struct, frozen=True):
    """A namespace's path, with device and inode: another namespace may get the same path later."""

    path: str
    device: int
    inode: int


class Sandboxes:
    """The namespaces of this node's pods, by the name of the pod's link."""

    def __init__(self, host: Host, namespaces: Namespaces) -> None:
        self._host = host
        self._namespaces = namespaces
        self._known: dict[str, Sandbox] = {}

    def remember(self, link: str, path: str, netns: Netns) -> None:
        self._known[link] = _sandbox(path, netns)

    def forget(self, link: str) -> None:
        self._known.pop(link, None)

    @contextlib.contextmanager
    def opened(self, link: str) -> Iterator[Netns | None]:
        """Open the namespace of a link; None if it no longer exists, or was never found."""
        known = self._known.get(link)
        with contextlib.ExitStack() as stack:
            netns: Netns | None = None
            if known is not None:
                with contextlib.suppress(NetnsError):
                    netns = stack.enter_context(self._namespaces.opened(known.path))
                    # Another namespace may have this path now.
                    netns = netns if _sandbox(known.path, netns) == known else None
            yield netns

    def learn(self, links: Iterable[str]) -> None:
        """Find the namespaces of these links."""
        by_number = dict(self._numbered())
        for link in links:
            try:
                number = self._host.number_behind(link)
            except KernelError:
                continue  # the pod works; only its link could not be made again
            if number in by_number:
                self._known[link] = by_number[number]

    def _numbered(self) -> Iterator[tuple[int, Sandbox]]:
        for path in self._namespaces.named():
            try:
                with self._namespaces.opened(path) as netns:
                    number = self._host.number(netns.fd)
                    if number is not None:
                        yield number, _sandbox(path, netns)
            except (NetnsError, KernelError):
                continue  # a name without a namespace: not a pod's


def _sandbox(path: str, netns: Netns) -> Sandbox:
    return Sandbox(path, netns.device, netns.inode)

"""Where pods' network namespaces are to be found, should a link have to be made anew.

A veth pair dies as a whole, so a link removed by hand leaves nothing that leads to its pod. Hence
each pod's namespace is remembered from its ADD on; after a restart it is found by the number that
the link itself names, among the namespaces that have a name. No file is held open: that would
keep a namespace alive after its pod.
"""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from steppe.drivers.errors import KernelError
from steppe.drivers.namespaces import Host, Namespaces, Netns
from steppe.drivers.netlink.netns import NetnsError


class Sandbox(msgspec.Struct, frozen=True):
    """A namespace by its path, and by what tells it from one that took its path over."""

    path: str
    device: int
    inode: int


class Sandboxes:
    """The namespaces of the pods on this node, by the pods' links."""

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
        """The namespace that the link led to; None if it is gone, or was never found."""
        known = self._known.get(link)
        with contextlib.ExitStack() as stack:
            netns: Netns | None = None
            if known is not None:
                with contextlib.suppress(NetnsError):
                    netns = stack.enter_context(self._namespaces.opened(known.path))
                    # Another namespace may have the path by now.
                    netns = netns if _sandbox(known.path, netns) == known else None
            yield netns

    def learn(self, links: Iterable[str]) -> None:
        """Find the namespaces that these links lead to."""
        by_number = dict(self._numbered())
        for link in links:
            try:
                number = self._host.number_behind(link)
            except KernelError:
                continue  # a pod whose link cannot be made anew is still one that works
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

"""Where pods' network namespaces are to be found, should a link have to be made anew.

A veth pair dies as a whole, so a link removed by hand leaves nothing that leads to its pod. Hence
each pod's namespace is remembered from its ADD on; after a restart it is found by the number that
the link itself names, among the namespaces that have a name. No file is held open: that would
keep a namespace alive after its pod.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink.netns import NetnsError, open_netns
from steppe.drivers.netlink.nsid import get_nsid, read_link_nsid, read_nsid
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket

NAMED = Path("/var/run/netns")
"""Where ip-netns(8) and container runtimes bind namespaces to names (/run/netns, mostly)."""


class Sandbox(msgspec.Struct, frozen=True):
    """A namespace by its path, and by what tells it from one that took its path over."""

    path: str
    device: int
    inode: int


class Sandboxes:
    """The namespaces of the pods on this node, by the pods' links."""

    def __init__(self, socket: NetlinkSocket) -> None:
        self._socket = socket
        self._known: dict[str, Sandbox] = {}

    def remember(self, link: str, path: str, netns: int) -> None:
        self._known[link] = _sandbox(path, netns)

    def forget(self, link: str) -> None:
        self._known.pop(link, None)

    @contextlib.contextmanager
    def opened(self, link: str) -> Iterator[int | None]:
        """The namespace that the link led to; None if it is gone, or was never found."""
        known = self._known.get(link)
        with contextlib.ExitStack() as stack:
            netns: int | None = None
            if known is not None:
                with contextlib.suppress(NetnsError):
                    netns = stack.enter_context(open_netns(known.path))
                    # Another namespace may have the path by now.
                    netns = netns if _sandbox(known.path, netns) == known else None
            yield netns

    def learn(self, links: Iterable[str]) -> None:
        """Find the namespaces that these links lead to."""
        by_number = dict(self._numbered())
        for link in links:
            try:
                number = read_link_nsid(self._socket.get(nl_link.get_link(link)))
            except NetlinkError:
                continue  # gone since
            if number in by_number:
                self._known[link] = by_number[number]

    def _numbered(self) -> Iterator[tuple[int, Sandbox]]:
        for path in sorted(NAMED.iterdir()) if NAMED.is_dir() else ():
            try:
                with open_netns(str(path)) as netns:
                    number = read_nsid(self._socket.get(get_nsid(netns)))
                    if number is not None:
                        yield number, _sandbox(str(path), netns)
            except (NetnsError, NetlinkError):
                continue  # a name without a namespace: not a pod's


def _sandbox(path: str, netns: int) -> Sandbox:
    stat = os.fstat(netns)
    return Sandbox(path, stat.st_dev, stat.st_ino)

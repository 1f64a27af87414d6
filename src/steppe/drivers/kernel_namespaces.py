"""The network namespaces of this machine, for attaching pods (namespaces.py)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.namespaces import Netns
from steppe.drivers.netlink.netns import NetnsError, open_netns
from steppe.drivers.scope import Scope

NAMED = Path("/var/run/netns")
"""Where ip-netns(8) and container runtimes bind namespaces to names (/run/netns, mostly)."""


class KernelNamespaces:
    """Those of this machine."""

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[Netns]:
        with open_netns(path) as fd:
            stat = os.fstat(fd)
            yield Netns(fd, stat.st_dev, stat.st_ino)

    def is_own(self, netns: Netns) -> bool:
        mine = Path("/proc/thread-self/ns/net").stat()
        return (mine.st_dev, mine.st_ino) == (netns.device, netns.inode)

    def named(self) -> tuple[str, ...]:
        try:
            return tuple(sorted(map(str, NAMED.iterdir())))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise NetnsError(f"list the namespaces in {NAMED}: {error.strerror}") from error

    def driver(self, netns: Netns, scope: Scope) -> KernelDriver:
        return KernelDriver(netns.fd, scope)

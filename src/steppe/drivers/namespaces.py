"""The protocols for attaching pods: the node's own namespace, and the namespaces of pods.

    Host         the node's tables, and all links and addresses, also of other programs
    Namespaces   opens a pod's namespace, and gives a driver of the tables inside it

The real ones are in kernel.py and kernel_namespaces.py, those in memory in fake.py and
fake_namespaces.py.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from steppe.drivers.driver import Driver
from steppe.drivers.scope import Scope
from steppe.net.address import IPAddress
from steppe.state.link import Link


class Netns(msgspec.Struct, frozen=True):
    """An open namespace. The descriptor is valid while the context of `opened` lasts; device and
    inode identify the namespace among those that exist at the time.
    """

    fd: int
    device: int
    inode: int


class Host(Driver, Protocol):
    """The node's own namespace."""

    def create_veth(
        self, name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
    ) -> None:
        """Make a pod's veth pair, our end up, the peer down inside the pod's namespace.

        KernelError; its errno is EEXIST where one of the two names is taken.
        """

    def aliases(self) -> Mapping[str, str]:
        """The alias of each link, whoever made it; "" for one without."""

    def alias(self, name: str) -> str | None:
        """The alias of one link; None if it is not there."""

    def addresses(self) -> tuple[IPAddress, ...]:
        """All addresses of all links."""

    def number(self, netns_fd: int) -> int | None:
        """The number that another namespace has here (ip-netns(8), `list-id`); None for none."""

    def number_behind(self, name: str) -> int | None:
        """The number of the namespace with a link's other end; None for none, or no link."""


class Namespaces(Protocol):
    """The network namespaces of a machine."""

    def opened(self, path: str) -> AbstractContextManager[Netns]:
        """The namespace at this path, such as /run/netns/NAME; NetnsError if there is none."""

    def is_own(self, netns: Netns) -> bool:
        """Whether it is the node's own namespace."""

    def named(self) -> tuple[str, ...]:
        """The paths of the namespaces that have a name."""

    def driver(self, netns: Netns, scope: Scope) -> AbstractContextManager[Driver]:
        """A driver of the tables inside the namespace, for as long as this lasts."""


class TrialNode(msgspec.Struct, frozen=True):
    """A throw-away node: its driver, and the path of its pod's namespace among these."""

    host: Host
    namespaces: Namespaces
    netns: str


TrialNodes = Callable[[], AbstractContextManager[TrialNode]]
"""Makes a throw-away node, for as long as the context lasts."""

"""The drivers of one network namespace, as one.

links, addresses, neighbours, fdb, routes, rules    rtnetlink.py
sysctls                                             sysctl.py
further tables, such as elements                    the drivers handed in
"""

from collections.abc import Iterable
from errno import ENODEV

from steppe.drivers.driver import Composite, Driver
from steppe.drivers.errors import KernelError, kernel_error
from steppe.drivers.links import create
from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.nsid import get_nsid, read_link_nsid, read_nsid
from steppe.drivers.netlink.socket import NetlinkError
from steppe.drivers.reader import list_addresses, list_links
from steppe.drivers.rtnetlink import Rtnetlink
from steppe.drivers.scope import NODE, Scope
from steppe.drivers.sysctl import Sysctls
from steppe.net.address import IPAddress
from steppe.state.link import Link


class KernelDriver(Composite):
    """Reads and changes the tables of one network namespace; closes what it was handed as well."""

    def __init__(
        self, netns_fd: int | None = None, scope: Scope = NODE, more: Iterable[Driver] = ()
    ) -> None:
        self._scope = scope
        sysctls = Sysctls(netns_fd)
        rtnetlink = Rtnetlink(netns_fd, scope, sysctls)
        self.socket = rtnetlink.socket
        super().__init__((rtnetlink, sysctls, *more))

    def create_veth(
        self, name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
    ) -> None:
        """Make a pod's veth pair, our end up, the peer down inside the pod's namespace."""
        what = f"add links {name} {link}"
        if not self._scope.has_link(name):
            raise KernelError(what, detail="the name is not one of ours")
        made = nl_link.create_veth(name, link, peer_name, peer_mac, netns_fd)
        create(self.socket, name, made, what)

    def aliases(self) -> dict[str, str]:
        """The alias of each link of the namespace, whoever made it."""
        try:
            return {link.name: link.alias for link in list_links(self.socket)}
        except NetlinkError as error:
            raise kernel_error("list the links", error) from error

    def alias(self, name: str) -> str | None:
        """The alias of one link; None if it is not there."""
        answer = self._link(name)
        return nl_link.read_link(answer).alias if answer is not None else None

    def addresses(self) -> tuple[IPAddress, ...]:
        """All addresses of all links."""
        try:
            return tuple(interface.ip for _, interface in list_addresses(self.socket))
        except NetlinkError as error:
            raise kernel_error("list the addresses", error) from error

    def number(self, netns_fd: int) -> int | None:
        """The number that another namespace has in this one; None for none."""
        try:
            return read_nsid(self.socket.get(get_nsid(netns_fd)))
        except NetlinkError as error:
            raise kernel_error("ask for a namespace's number", error) from error

    def number_behind(self, name: str) -> int | None:
        """The number of the namespace with a link's other end; None for none, or no link."""
        answer = self._link(name)
        return read_link_nsid(answer) if answer is not None else None

    def _link(self, name: str) -> Message | None:
        try:
            return self.socket.get(nl_link.get_link(name))
        except NetlinkError as error:
            if error.errno == ENODEV:
                return None
            raise kernel_error(f"look up link {name}", error) from error

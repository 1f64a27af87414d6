"""Makes, changes and deletes links.

MTU, MAC address, group, alias and state are changed in place. The settings of one kind cannot all
be changed, so a device that differs in them is made again. In both cases the caller restores the
entries that the link has lost. A pod's veth pair can only be made by attaching the pod: it needs
the pod's namespace.
"""

from errno import EEXIST, ENODEV

from steppe.drivers.errors import KernelError
from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink.link import LinkInfo
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.scope import Scope
from steppe.state.link import Link

_FOREIGN = "a link of this name is there and not ours; rename or delete it"
_DETACHED = "the pod's link is gone; it is made again by attaching: delete the pod"


class Links:
    """The links of one namespace as they were read, and methods to change them."""

    def __init__(self, socket: NetlinkSocket, scope: Scope, found: tuple[LinkInfo, ...]) -> None:
        self._socket = socket
        self._scope = scope
        self._by_name = {link.name: link for link in found}
        self._names = {link.index: link.name for link in found}

    def sheds(self, name: str, new: Link) -> bool:
        """Whether the existing link loses entries when it is changed to the new one."""
        there = self._by_name.get(name)
        if there is None:
            return False
        actual = there.link(self._names)
        return actual is None or (actual.kind, actual.mac) != (new.kind, new.mac)

    def _is_other(self, there: LinkInfo, new: Link) -> bool:
        actual = there.link(self._names)
        return actual is None or actual.kind != new.kind

    def put(self, name: str, new: Link, what: str) -> None:
        """Make the link, or change the existing one."""
        self._check_scope(name, what)
        there = self._by_name.get(name)
        if there is None:
            self._create(name, new, what)
            return
        if self._is_other(there, new):
            if there.kind != new.kind.name or new.kind.made_by_attaching:
                raise KernelError(what, EEXIST, f"it is a {there.kind or 'device'}", _FOREIGN)
            self.delete(name, what)
            self._create(name, new, what)
            return
        try:
            actual = there.link(self._names)
            self._socket.request(*nl_link.set_link(name, new, actual))
        except NetlinkError as error:
            raise KernelError(what, error.errno, error.detail) from error

    def delete(self, name: str, what: str) -> None:
        """Delete the link; no error if it does not exist."""
        self._check_scope(name, what)
        self._by_name.pop(name, None)
        try:
            self._socket.request(nl_link.delete_link(name))
        except NetlinkError as error:
            if error.errno != ENODEV:
                raise KernelError(what, error.errno, error.detail) from error

    def _create(self, name: str, new: Link, what: str) -> None:
        if new.kind.made_by_attaching:
            raise KernelError(what, ENODEV, cure=_DETACHED)
        lower = self._by_name.get(new.kind.lower) if new.kind.lower else None
        if new.kind.lower and lower is None:
            raise KernelError(what, ENODEV, f"its underlay {new.kind.lower}")
        requests = nl_link.create_link(name, new, lower.index if lower is not None else 0)
        self._by_name[name] = create(self._socket, name, requests, what)
        self._names[self._by_name[name].index] = name

    def _check_scope(self, name: str, what: str) -> None:
        if not self._scope.has_link(name):
            raise KernelError(what, detail="the name is not one of ours", cure=_FOREIGN)


def create(socket: NetlinkSocket, name: str, requests: tuple[Request, ...], what: str) -> LinkInfo:
    """Send the requests that make a link; if one fails, the incomplete link is deleted."""
    make, *finish = requests
    try:
        socket.request(make)
    except NetlinkError as error:
        raise KernelError(what, error.errno, error.detail) from error
    try:
        socket.request(*finish)
        return nl_link.read_link(socket.get(nl_link.get_link(name)))
    except NetlinkError as error:
        socket.batch((nl_link.delete_link(name),))
        raise KernelError(what, error.errno, error.detail) from error

"""Finds a node's underlay: the link by which it reaches the other nodes.

It is the link that holds an address the node is known by, else the one the default route uses.
Several links may qualify; the first address given decides.

    Underlays.read()    the underlay as it is now; blocks, and belongs on a thread
    Underlays.events()  whenever links, addresses or default routes have changed
"""

import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from errno import ENOBUFS
from typing import Self

import msgspec

from steppe.drivers.errors import KernelError, kernel_error
from steppe.drivers.netlink import address as addr
from steppe.drivers.netlink import link as links
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink import route as routes
from steppe.drivers.netlink.hearing import heard, join
from steppe.drivers.netlink.link import LinkInfo
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket, open_socket
from steppe.drivers.reader import list_addresses, list_links, list_routes
from steppe.drivers.sysctl import Sysctls
from steppe.kube.objects import Underlay
from steppe.net.address import IPAddress, IPInterface
from steppe.state.route import MAIN
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import is_pod_link

_CURE = "give the node's link one of its addresses, or a default route"

# RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_GROUPS = (1, 5, 7, 9, 11)
_BUFFER = 1 << 20
_DATAGRAMS = 2000
_DESTINATION_LENGTH = 1
"""Where the length of the prefix stands in a route's message (struct rtmsg, rtm_dst_len)."""

Changed = tuple[str, ...]
"""What has changed, in words for the log."""


class Underlays:
    """Reads the underlay of one network namespace, with sockets of its own."""

    def __init__(self, netns_fd: int | None = None) -> None:
        self._socket = NetlinkSocket(netns_fd)
        self._sysctls = Sysctls(netns_fd)
        try:
            self._hearing = open_socket(netns_fd, _BUFFER, socket.SOCK_NONBLOCK)
        except OSError:
            self._socket.close()
            raise
        join(self._hearing, _GROUPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._hearing.close()
        self._socket.close()

    def read(self, addresses: Sequence[IPAddress]) -> Underlay:
        """The underlay of a node known by these addresses; KernelError if none is found."""
        found = _find(self._socket, addresses)
        key = SysctlKey(f"net/ipv6/conf/{found.link}/accept_ra")
        # Without IPv6 there is no such file; then nothing depends on it.
        refuses = self._sysctls.read((key,)).get(key) == Sysctl("0")
        return msgspec.structs.replace(found, takes_advertisements=not refuses)

    def drain(self) -> Changed:
        """The changes since the last call that may concern the underlay; never waits."""
        changed: dict[str, None] = {}
        for _ in range(_DATAGRAMS):
            try:
                data = self._hearing.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                changed["events came faster than they were read"] = None
                continue
            changed.update((what, None) for what in map(_changed, nl.messages(data)) if what)
        return tuple(changed)

    def events(self) -> AsyncIterator[Changed]:
        """What changes, as it changes, for ever."""
        return heard(self._hearing.fileno(), self.drain)


def _changed(message: Message) -> str:
    """What has changed, as text; "" for a notification that cannot concern the underlay.

    Those are frequent: pods' links, and thousands of routes to peers.
    """
    kind = message.kind
    if kind in (links.RTM_NEWLINK, links.RTM_DELLINK):
        if message.body[0] != socket.AF_UNSPEC:
            return ""
        link = links.read_link(message)
        return "" if is_pod_link(link.name) else f"link {link.name}"
    if kind in (addr.RTM_NEWADDR, addr.RTM_DELADDR):
        return "an address"
    if kind in (routes.RTM_NEWROUTE, routes.RTM_DELROUTE):
        return "" if message.body[_DESTINATION_LENGTH] else "a default route"
    return ""


def _find(socket: NetlinkSocket, addresses: Sequence[IPAddress]) -> Underlay:
    """The link, its MTU, and its addresses that are valid beyond it."""
    try:
        links = {link.index: link for link in list_links(socket)}
        held = tuple(list_addresses(socket))
        link = _holder(links, held, addresses) or _default(socket, links)
    except NetlinkError as error:
        raise kernel_error("find the underlay", error) from error
    if link is None:
        known = ", ".join(map(str, addresses))
        why = f"no link holds {known}" if known else "the node's addresses are not known yet"
        # With a link that is down, its IPv6 addresses and routes are gone.
        down = ", ".join(each.name for each in links.values() if _may_be_it(each) and not each.up)
        detail = f"{why}, and there is no default route" + (f"; down: {down}" if down else "")
        raise KernelError("find the underlay", detail=detail, cure=_CURE)
    return Underlay(
        link.name,
        link.mtu,
        tuple(a for index, a in held if index == link.index and not a.ip.is_link_local),
        mac=link.mac,
        up=link.up,
    )


def _may_be_it(link: LinkInfo) -> bool:
    return not link.loopback and not is_pod_link(link.name)


def _holder(
    links: dict[int, LinkInfo],
    held: Iterable[tuple[int, IPInterface]],
    addresses: Iterable[IPAddress],
) -> LinkInfo | None:
    """The link with the first of the given addresses; loopback addresses are ignored."""
    by_address = {interface.ip: links[index] for index, interface in held if index in links}
    for address in addresses:
        link = by_address.get(address)
        if link is not None and not link.loopback:
            return link
    return None


def _default(socket: NetlinkSocket, links: dict[int, LinkInfo]) -> LinkInfo | None:
    names = {index: link.name for index, link in links.items()}
    by_name = {link.name: link for link in links.values()}
    defaults = [
        (info.key.prefix.version, info.key.metric, link)
        for info in list_routes(socket, names)
        for link in info.route.links
        if info.key.prefix.prefixlen == 0 and info.key.routing_table == MAIN and link in by_name
    ]
    return by_name[min(defaults)[2]] if defaults else None

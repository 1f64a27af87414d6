"""Finds a node's underlay: the link by which it reaches the other nodes.

It is the link that holds an address the node is known by, else the one the default route uses.
Several links may qualify; the first address given decides.
"""

from collections.abc import Iterable, Sequence

from steppe.drivers.errors import KernelError, kernel_error
from steppe.drivers.netlink.link import LinkInfo
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.reader import list_addresses, list_links, list_routes
from steppe.kube.objects import Underlay
from steppe.net.address import IPAddress, IPInterface
from steppe.state.route import MAIN

_CURE = "give the node's link one of its addresses, or a default route"


def find_underlay(socket: NetlinkSocket, addresses: Sequence[IPAddress]) -> Underlay:
    """The link, its MTU, and its addresses that are valid beyond it."""
    try:
        links = {link.index: link for link in list_links(socket)}
        held = tuple(list_addresses(socket))
        link = _holder(links, held, addresses) or _default(socket, links)
    except NetlinkError as error:
        raise kernel_error("find the underlay", error) from error
    if link is None:
        known = ", ".join(map(str, addresses)) or "no address"
        detail = f"no link holds {known}, and there is no default route"
        raise KernelError("find the underlay", detail=detail, cure=_CURE)
    return Underlay(
        link.name,
        link.mtu,
        tuple(a for index, a in held if index == link.index and not a.ip.is_link_local),
    )


def _holder(
    links: dict[int, LinkInfo],
    held: Iterable[tuple[int, IPInterface]],
    addresses: Iterable[IPAddress],
) -> LinkInfo | None:
    """The first given address's link; a loopback address says nothing about the way out."""
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

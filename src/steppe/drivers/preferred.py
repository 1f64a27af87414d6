"""Other programs' routes that the kernel uses before ours. Read only."""

from collections.abc import Iterable

from steppe.drivers.netlink.route import RouteInfo
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.reader import list_links, list_routes
from steppe.net.address import IPNetwork
from steppe.state.route import PROTOCOL, RouteKey


def preferred(ours: Iterable[RouteKey], netns_fd: int | None = None) -> tuple[RouteInfo, ...]:
    """Others' routes to a prefix of ours, in the same table, with a lower metric.

    NetlinkError where the routes cannot be read.
    """
    metrics: dict[tuple[IPNetwork, int], int] = {}
    for key in ours:
        metrics[key.prefix, key.routing_table] = key.metric
    with NetlinkSocket(netns_fd) as socket:
        names = {link.index: link.name for link in list_links(socket)}
        return tuple(
            info
            for info in list_routes(socket, names)
            if info.protocol != PROTOCOL
            and info.key.metric < metrics.get((info.key.prefix, info.key.routing_table), 0)
        )

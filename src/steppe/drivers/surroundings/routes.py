"""Other programs' routes, of every kind and in every table, as far as they concern the cluster.

A node may hold a million routes of the Internet: those that have no address in common with the
cluster's are left out as they are read.
"""

from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.reader import list_links, list_routes
from steppe.drivers.surroundings.look import Look
from steppe.net.overlaps import Overlaps, block_of
from steppe.state.surroundings import OtherRoute


def read(look: Look) -> tuple[OtherRoute, ...]:
    """NetlinkError where they cannot be read."""
    wanted = Overlaps[bool]()
    for prefix in look.addresses:
        wanted.add(block_of(prefix), True)
    with NetlinkSocket() as socket:
        names = {link.index: link.name for link in list_links(socket)}
        return tuple(
            OtherRoute(info.key, info.route, info.protocol)
            for info in list_routes(socket, names)
            if (not look.protocol or info.protocol != look.protocol)
            and next(wanted.overlapping(block_of(info.key.prefix)), False)
        )

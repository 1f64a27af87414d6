"""Permanent neighbour entries for the cluster's addresses on links that are not Steppe's."""

from collections.abc import Iterator

from steppe.drivers.netlink import neighbour as neigh
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.reader import list_links
from steppe.drivers.scope import NODE
from steppe.drivers.surroundings.look import Look
from steppe.net.overlaps import Overlaps, block_of
from steppe.state.surroundings import OtherNeighbour

_FAMILIES = (2, 10)


def read(look: Look) -> tuple[OtherNeighbour, ...]:
    """NetlinkError where they cannot be read."""
    return tuple(_read(look))


def _read(look: Look) -> Iterator[OtherNeighbour]:
    wanted = Overlaps[bool]()
    for prefix in look.addresses:
        wanted.add(block_of(prefix), True)
    with NetlinkSocket() as socket:
        names = {link.index: link.name for link in list_links(socket)}
        for family in _FAMILIES:
            for message in socket.dump(neigh.list_neighbours(family)):
                info = neigh.read_neighbour(message)
                if info is None or info.address is None or not info.permanent or not info.mac:
                    continue
                name = names.get(info.index, "")
                if not NODE.has_link(name) and any(wanted.overlapping(block_of(info.address))):
                    yield OtherNeighbour(name, info.address, info.mac)

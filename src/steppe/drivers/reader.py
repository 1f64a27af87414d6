"""Reads a namespace's tables from the kernel, as the same types that compilers claim.

Only entries in a Scope are returned. Entries name their link by index, so the links are read first;
entries on a link that does not exist are left out.
"""

from collections.abc import Callable, Iterator

from steppe.drivers.netlink import address as addr
from steppe.drivers.netlink import link as links
from steppe.drivers.netlink import neighbour as neigh
from steppe.drivers.netlink import route as routes
from steppe.drivers.netlink import rule as rules
from steppe.drivers.netlink.link import LinkInfo
from steppe.drivers.netlink.neighbour import NeighbourInfo
from steppe.drivers.netlink.route import RouteInfo
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.scope import Scope
from steppe.net.address import IPInterface
from steppe.state.link import (
    Address,
    AddressKey,
    Forwarding,
    ForwardingKey,
    LinkKey,
    Neighbour,
    NeighbourKey,
)
from steppe.state.node import Key, Value

_FAMILIES = (routes.AF_INET, routes.AF_INET6)
_LOCAL_TABLE = 255
"""RT_TABLE_LOCAL "is maintained by the kernel" (ip-route(8)): never ours, in any scope."""

Row = tuple[Key, Value]


def list_links(socket: NetlinkSocket) -> tuple[LinkInfo, ...]:
    """All links of the namespace, whoever made them."""
    return tuple(map(links.read_link, socket.dump(links.list_links())))


def list_addresses(socket: NetlinkSocket) -> Iterator[tuple[int, IPInterface]]:
    """All addresses, each with its link's index, in the kernel's order, IPv4 first."""
    for family in _FAMILIES:
        for message in socket.dump(addr.list_addresses(family)):
            found = addr.read_address(message)
            if found is not None:
                yield found


def list_routes(
    socket: NetlinkSocket, names: dict[int, str], protocol: int = 0
) -> Iterator[RouteInfo]:
    """All routes of the kinds we know, or only those of one protocol."""
    for family in _FAMILIES:
        for message in socket.dump(routes.list_routes(family, protocol)):
            found = routes.read_route(message, names)
            if found is not None:
                yield found


def read_tables(
    socket: NetlinkSocket, scope: Scope, met: Callable[[RouteInfo], object] = lambda _: None
) -> dict[Key, Value]:
    """Every table of rtnetlink, limited to the scope.

    `met` is called with each route in the scope, as the kernel has it.
    """
    found = list_links(socket)
    names = {link.index: link.name for link in found}
    state: dict[Key, Value] = {}
    for link in found:
        own = link.link(names)
        if own is not None and scope.has_link(link.name):
            state[LinkKey(link.name)] = own
    state.update(_addresses(socket, scope, names))
    state.update(_neighbours(socket, scope, found, names))
    for info in list_routes(socket, names, scope.protocol):
        row = route_row(info, scope)
        if row is not None:
            state[row[0]] = row[1]
            met(info)
    if not scope.link:
        # Of two rules with one key the kernel uses the first one that it lists.
        for key, value in _rules(socket, scope):
            state.setdefault(key, value)
    return state


def _addresses(socket: NetlinkSocket, scope: Scope, names: dict[int, str]) -> Iterator[Row]:
    for index, address in list_addresses(socket):
        name = names.get(index, "")
        if scope.has_link(name):
            yield AddressKey(name, address), Address()


def _neighbours(
    socket: NetlinkSocket, scope: Scope, found: tuple[LinkInfo, ...], names: dict[int, str]
) -> Iterator[Row]:
    requests = [neigh.list_neighbours(family) for family in _FAMILIES]
    requests += [
        neigh.list_forwarding(link.index)
        for link in found
        if scope.has_link(link.name)
        and (own := link.link(names)) is not None
        and own.kind.wrapping == "forwarding"
    ]
    for request in requests:
        for message in socket.dump(request):
            info = neigh.read_neighbour(message)
            row = neighbour_row(info, scope, names) if info is not None else None
            if row is not None and row[1] is not None:
                yield row[0], row[1]


def neighbour_row(
    info: NeighbourInfo, scope: Scope, names: dict[int, str]
) -> tuple[Key, Value | None] | None:
    """The entry's row; a value of None says that a key in scope holds nothing permanent."""
    name = names.get(info.index, "")
    if not scope.has_link(name):
        return None
    if info.forwarding:
        if info.address is None:
            return None
        value = Forwarding(info.address) if info.permanent else None
        return ForwardingKey(name, info.mac), value
    if info.address is None:
        return None
    return NeighbourKey(name, info.address), Neighbour(info.mac) if info.permanent else None


def route_row(info: RouteInfo, scope: Scope) -> Row | None:
    """The route's row, if the scope reaches it."""
    if info.key.routing_table == _LOCAL_TABLE:
        return None
    links = info.route.links or ("",)
    if not any(scope.has_route(info.protocol, link) for link in links):
        return None
    return info.key, info.route


def _rules(socket: NetlinkSocket, scope: Scope) -> Iterator[Row]:
    for family in _FAMILIES:
        for message in socket.dump(rules.list_rules(family)):
            info = rules.read_rule(message)
            if info is not None and scope.has_rule(info.protocol):
                yield info.key, info.rule

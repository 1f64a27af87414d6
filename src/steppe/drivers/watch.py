"""Reports the changes that others make to a namespace's tables, as they happen.

Our own changes are filtered out inside the kernel.

The kernel does not report everything. When a link goes down or is deleted, and when an IPv4 address
is deleted, its IPv4 routes are deleted without events (fib_flush sends no RTM_DELROUTE); and a
reader that is too slow loses events. Both become Lost: read the tables again.
"""

import socket
from collections.abc import AsyncGenerator, Iterator
from errno import ENOBUFS
from typing import Self

from steppe.drivers.events import Event, Lost, Seen
from steppe.drivers.netlink import address as addr
from steppe.drivers.netlink import link as links
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink import neighbour as neigh
from steppe.drivers.netlink import nexthop
from steppe.drivers.netlink import route as routes
from steppe.drivers.netlink import rule as rules
from steppe.drivers.netlink.hearing import heard, ignore, join
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.socket import NetlinkSocket, open_socket
from steppe.drivers.reader import list_links, neighbour_row, route_row
from steppe.drivers.scope import NODE, Scope
from steppe.state.link import Address, AddressKey, LinkKey

# RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE,
# NEXTHOP
_GROUPS = (1, 3, 5, 7, 8, 9, 11, 19, 32)
_BUFFER = 8 << 20
"""Bytes of the receive buffer, for 15,000 events; memory is used only while events wait."""
_DATAGRAMS = 2000
"""The most events in one call, so that many events do not block the event loop."""


class Watch:
    """The events of one namespace. It is made before the tables are read, so no event is missed.

    Invariant: every change by others since then is an event or is covered by a Lost.
    """

    def __init__(
        self,
        own: NetlinkSocket,
        netns_fd: int | None = None,
        scope: Scope = NODE,
        buffer: int = _BUFFER,
    ) -> None:
        self._scope = scope
        self._own = own
        self._socket = open_socket(netns_fd, buffer, socket.SOCK_NONBLOCK)
        # Links are always subscribed to: their names are needed for the other events.
        ignore(self._socket, own.port, unless=(links.RTM_NEWLINK, links.RTM_DELLINK))
        join(self._socket, _GROUPS)
        self._names: dict[int, str] = {}
        self._up: set[int] = set()
        self._learn_links()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._socket.fileno(),)

    def drain(self) -> tuple[Event, ...]:
        """The events since the last call; never waits."""
        events: list[Event] = []
        for _ in range(_DATAGRAMS):
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                # "ENOBUFS ... the application can detect when this happens ... and
                # resynchronize" (netlink(7), Reliability)
                self._learn_links()
                events.append(Lost("events came faster than they were read"))
                continue
            for message in nl.messages(data):
                events += self._events(message)
        return tuple(events)

    def events(self) -> AsyncGenerator[tuple[Event, ...], None]:
        """The events as they happen, until cancelled."""
        return heard(self._socket.fileno(), self.drain)

    def _learn_links(self) -> None:
        found = list_links(self._own)
        self._names = {link.index: link.name for link in found}
        self._up = {link.index for link in found if link.up}

    def _events(self, message: Message) -> Iterator[Event]:
        kind = message.kind
        if kind in (links.RTM_NEWLINK, links.RTM_DELLINK):
            yield from self._link(message)
        elif kind in (addr.RTM_NEWADDR, addr.RTM_DELADDR):
            yield from self._address(message)
        elif kind in (routes.RTM_NEWROUTE, routes.RTM_DELROUTE):
            yield from self._route(message)
        elif kind in (neigh.RTM_NEWNEIGH, neigh.RTM_DELNEIGH):
            info = neigh.read_neighbour(message)
            row = neighbour_row(info, self._scope, self._names) if info is not None else None
            if row is not None:
                yield Seen(row[0], row[1] if kind == neigh.RTM_NEWNEIGH else None)
        elif nexthop.takes_routes(message):
            yield Lost("a nexthop object went or changed, and with it IPv4 routes that use it")
        elif kind in (rules.RTM_NEWRULE, rules.RTM_DELRULE):
            rule = rules.read_rule(message)
            if rule is not None and self._scope.has_rule(rule.protocol):
                yield Seen(rule.key, rule.rule if kind == rules.RTM_NEWRULE else None)

    def _link(self, message: Message) -> Iterator[Event]:
        if message.body[0] != socket.AF_UNSPEC:
            return  # a bridge tells about its ports in the same words
        link = links.read_link(message)
        before = self._names.get(link.index, link.name)
        was_up = link.index in self._up
        self._up.discard(link.index)
        if message.kind == links.RTM_DELLINK:
            self._names.pop(link.index, None)
            yield from self._gone(before, "was deleted")
            return
        self._names[link.index] = link.name
        if link.up:
            self._up.add(link.index)
        if before != link.name:
            yield from self._gone(before, f"was renamed to {link.name}")
        if self._scope.has_link(link.name):
            yield Seen(LinkKey(link.name), link.link(self._names))
        if was_up and not link.up:
            yield Lost(f"link {link.name} went down", link.name)

    def _gone(self, name: str, how: str) -> Iterator[Event]:
        if self._scope.has_link(name):
            yield Seen(LinkKey(name), None)
        yield Lost(f"link {name} {how}", name)

    def _address(self, message: Message) -> Iterator[Event]:
        found = addr.read_address(message)
        if found is None:
            return
        index, address = found
        name = self._names.get(index, "")
        added = message.kind == addr.RTM_NEWADDR
        if self._scope.has_link(name):
            yield Seen(AddressKey(name, address), Address() if added else None)
        if not added and address.version == 4:
            yield Lost(f"address {address} left {name}, and with it routes that name it")

    def _route(self, message: Message) -> Iterator[Event]:
        info = routes.read_route(message, self._names)
        if info is None:
            return
        row = route_row(info, self._scope)
        if row is not None:
            yield Seen(row[0], row[1] if message.kind == routes.RTM_NEWROUTE else None)
        elif message.flags & nl.NLM_F_REPLACE and not self._scope.link:
            # `ip route replace` reports only the new route, not the one that it replaced.
            yield Seen(info.key, info.route, foreign=True)

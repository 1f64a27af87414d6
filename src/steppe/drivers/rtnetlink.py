"""Links, addresses, neighbours, forwarding entries, routes and rules of one network namespace.

    read()   each table, as far as the scope reaches
    apply()  changes in the order given; consecutive ones of one table go out as one batch

A change that fails is reported, and the other changes are made. Entries of other programs are left
alone: adding a route or rule where another program has one is a Failure. (A change with an old
value replaces the route under its key, also another program's: it has replaced ours before.)

A link that is made again loses its entries and its sysctls; both are restored here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from errno import EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, ENOENT, ESRCH
from itertools import groupby
from typing import Protocol

from steppe.drivers.driver import NOTHING, Fault, only
from steppe.drivers.errors import Failure, KernelError, kernel_error
from steppe.drivers.links import Links
from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.route import Index, RouteInfo
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.nexthops import Nexthops
from steppe.drivers.reader import list_links, read_tables
from steppe.drivers.requests import blocks, requests
from steppe.drivers.scope import Scope
from steppe.drivers.watch import Watch
from steppe.plan.diff import Change
from steppe.plan.order import ordered
from steppe.state.link import AddressKey, ForwardingKey, Link, LinkKey, NeighbourKey
from steppe.state.node import Key, Value
from steppe.state.route import Route, RouteKey, RuleKey

_GONE = (ESRCH, ENOENT, ENODEV, EADDRNOTAVAIL)
_DELETES = (17, 21, 25, 29, 33)
"""RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE, RTM_DELNEIGH, RTM_DELRULE (linux/rtnetlink.h)."""


class Settings(Protocol):
    """The driver of sysctls, for the link that loses them as it is made anew."""

    def read(self, wanted: Collection[Key]) -> Mapping[Key, Value]:
        """These settings, as far as they are there."""

    def of_link(self, name: str) -> tuple[Change, ...]:
        """The changes that put back what a link's settings are now."""

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Write them."""


class Rtnetlink:
    """The driver of what rtnetlink knows in one network namespace."""

    tables = frozenset(
        key.table for key in (LinkKey, AddressKey, NeighbourKey, ForwardingKey, RouteKey, RuleKey)
    )

    def __init__(self, netns_fd: int | None, scope: Scope, settings: Settings) -> None:
        self._netns_fd = netns_fd
        self._scope = scope
        self._settings = settings
        self.socket = NetlinkSocket(netns_fd)
        self._nexthops = Nexthops(self.socket, scope, settings.read)
        self._by_table = {
            LinkKey.table: self._apply_links,
            AddressKey.table: self._apply_addresses,
        }

    def close(self) -> None:
        self.socket.close()

    def check(self) -> tuple[Fault, ...]:
        """Nothing: the kernel has these tables from the start."""
        return ()

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        """Nothing to make."""
        del desired
        return ()

    def watch(self) -> Watch:
        return Watch(self.socket, self._netns_fd, self._scope)

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """All entries in the scope; `wanted` is not used."""
        del wanted
        return only(self._read_all(), tables)

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; each one that was not made, with its reason."""
        failures: list[Failure] = []
        for table, group in groupby(changes, key=lambda change: change.key.table):
            failures += self._by_table.get(table, self._apply_batch)(tuple(group))
        return tuple(failures)

    def _read_all(self) -> dict[Key, Value]:
        try:
            mark, routes = self._nexthops.mark(), list[RouteInfo]()
            state = read_tables(self.socket, self._scope, routes.append)
            self._nexthops.learn(mark, routes)
        except NetlinkError as error:
            raise kernel_error("read the kernel's tables", error) from error
        return state

    def _apply_links(self, changes: Sequence[Change]) -> list[Failure]:
        failures: list[Failure] = []
        links = Links(self.socket, self._scope, list_links(self.socket))
        for change in changes:
            name, new, what = str(change.key), change.new, str(change)
            carried: tuple[Change, ...] = ()
            try:
                if not isinstance(new, Link):
                    links.delete(name, what)
                    continue
                if links.sheds(name, new):
                    carried = self._carried(name)
                links.put(name, new, what)
            except KernelError as error:
                failures.append(Failure(change, error))
            else:
                failures += self._put_back(carried)
        return failures

    def _apply_addresses(self, changes: Sequence[Change]) -> list[Failure]:
        """Change addresses, and put back what the kernel drops along with them.

        "Last address was deleted from this interface. Disable IP." (fib_inetaddr_event in
        net/ipv4/fib_frontend.c): with it go the link's IPv4 routes and neighbours.
        """
        gone = {
            change.key.address.ip: change.key.link
            for change in changes
            if isinstance(change.key, AddressKey)
            and change.new is None
            and change.key.address.version == 4
        }
        carried = [
            change
            for link in set(gone.values())
            for change in self._carried(link)
            if not isinstance(change.key, AddressKey)
            and not (isinstance(change.new, Route) and change.new.source in gone)
        ]
        return self._apply_batch(changes) + self._put_back(carried)

    def _carried(self, name: str) -> tuple[Change, ...]:
        """The changes that restore what a link may lose when it changes."""
        found = self._read_all()
        return self._settings.of_link(name) + ordered(
            Change(key, None, value) for key, value in found.items() if _is_on(key, value, name)
        )

    def _put_back(self, carried: Iterable[Change]) -> list[Failure]:
        settings: list[Change] = []
        entries: list[Change] = []
        for change in carried:
            (entries if change.key.table in self.tables else settings).append(change)
        return [*self._settings.apply(settings), *self.apply(entries)]

    def _apply_batch(self, changes: Sequence[Change]) -> list[Failure]:
        sure, doubtful = self._send(changes)
        back = [Change(c.key, None, c.old) for c in (f.change for f in sure) if _made_way(c)]
        if back:
            self._apply_batch(back)
        if not doubtful:
            return sure
        # What the kernel found in the way, or did not find, decides.
        actual = self._read_all()
        again: list[Change] = []
        for failure in doubtful:
            key, new = failure.change.key, failure.change.new
            there = actual.get(key)
            if there is None and new is not None:
                sure.append(failure)
            elif there != new:
                again.append(Change(key, there, new))
        for failures in self._send(again):
            sure += failures
        return sure

    def _send(self, changes: Sequence[Change]) -> tuple[list[Failure], list[Failure]]:
        """Send changes as one batch; returns certain failures, and those that must be checked."""
        index = _Indexes(self.socket)
        with self._nexthops.lock:
            nexthops = self._nexthops.ids(changes, index)
            sure, doubtful = self._sent(changes, index, nexthops)
            failed = {failure.change.key for failure in (*sure, *doubtful)}
            self._nexthops.settle((c for c in changes if c.key not in failed), nexthops)
        return sure, doubtful

    def _sent(
        self, changes: Sequence[Change], index: Index, nexthops: Mapping[RouteKey, int]
    ) -> tuple[list[Failure], list[Failure]]:
        sure: list[Failure] = []
        doubtful: list[Failure] = []
        outgoing: list[Request] = []
        owners: list[Change] = []
        for change in changes:
            try:
                key = change.key
                nexthop = nexthops.get(key, 0) if isinstance(key, RouteKey) else 0
                made = requests(change, index, nexthop)
            except KernelError as error:
                sure.append(Failure(change, error))
                continue
            outgoing += made
            owners += [change] * len(made)
        answers = self.socket.batch(outgoing)
        for change, request, answer in zip(owners, outgoing, answers, strict=True):
            if answer is None:
                continue
            failure = Failure(change, KernelError(str(change), answer.errno, answer.detail))
            if request.kind in _DELETES and answer.errno in _GONE:
                # The kernel looks for an IPv4 route by its next hop as well (netlink/route.py).
                if isinstance(change.key, RouteKey) and change.new is None:
                    doubtful.append(failure)
            elif answer.errno == EEXIST:
                doubtful.append(failure)
            else:
                sure.append(failure)
        return sure, doubtful


class _Indexes:
    """The indexes of links by name, asked for once each; 0 for a link that is not there."""

    def __init__(self, socket: NetlinkSocket) -> None:
        self._socket = socket
        self._known: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        known = self._known.get(name)
        if known is None:
            try:
                known = nl_link.read_link(self._socket.get(nl_link.get_link(name))).index
            except NetlinkError as error:
                if error.errno not in (ENODEV, EINVAL):
                    raise kernel_error(f"look up link {name}", error) from error
                known = 0
            self._known[name] = known
        return known


def _made_way(change: Change) -> bool:
    """Whether the old route was deleted before the new one was tried."""
    key, old, new = change.key, change.old, change.new
    return (
        isinstance(key, RouteKey)
        and isinstance(old, Route)
        and isinstance(new, Route)
        and blocks(key, old, new)
    )


def _is_on(key: Key, value: Value, link: str) -> bool:
    if isinstance(key, AddressKey | NeighbourKey | ForwardingKey):
        return key.link == link
    return isinstance(value, Route) and link in value.links

"""The driver of one network namespace: reads its tables, and makes changes to them.

    read()   links, addresses, neighbours, fdb, routes, rules, sysctls, elements: what is ours
    apply()  changes in the order given; consecutive ones of one table go out as one batch

A change that fails is reported and the others go on. To add what is there already and to delete
what is gone both succeed. Others' entries are left alone: to add where another program's route
or rule stands is a Failure. (A change with an old value does replace what has the route's key:
whoever took the place of our route shall not keep it.)
"""

from collections.abc import Iterable, Mapping, Sequence
from errno import EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, ENOENT, ESRCH
from itertools import groupby
from typing import Protocol, Self

from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.links import Links, create
from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.route import Index, RouteInfo
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.nexthops import Nexthops
from steppe.drivers.reader import list_links, read_tables
from steppe.drivers.requests import blocks, requests
from steppe.drivers.scope import NODE, Scope
from steppe.drivers.sysctl import Sysctls
from steppe.drivers.underlay import find_underlay
from steppe.kube.objects import Underlay
from steppe.net.address import IPAddress
from steppe.plan.diff import Change
from steppe.plan.order import ordered
from steppe.state.link import AddressKey, ForwardingKey, Link, LinkKey, NeighbourKey
from steppe.state.node import Key, Value
from steppe.state.route import Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

_GONE = (ESRCH, ENOENT, ENODEV, EADDRNOTAVAIL)
_DELETES = (17, 21, 25, 29, 33)
"""RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE, RTM_DELNEIGH, RTM_DELRULE (linux/rtnetlink.h)."""


class Elements(Protocol):
    """The driver of nft sets that a KernelDriver passes element changes on to."""

    def read(self) -> dict[Key, Value]: ...
    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]: ...


class KernelDriver:
    """Reads and changes the tables of one network namespace."""

    def __init__(
        self,
        netns_fd: int | None = None,
        scope: Scope = NODE,
        elements: Elements | None = None,
    ) -> None:
        self._scope = scope
        self._elements = elements
        self._sysctls = Sysctls(netns_fd)
        self._settings: set[SysctlKey] = set()
        self.socket = NetlinkSocket(netns_fd)
        self._nexthops = Nexthops(self.socket, scope, self._sysctls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def read(self, settings: Iterable[SysctlKey] = ()) -> dict[Key, Value]:
        """All tables, as far as the scope reaches; of the sysctls only those asked for."""
        state = self._read_netlink()
        state.update(self.read_settings(settings))
        if self._elements is not None:
            state.update(self._elements.read())
        return state

    def read_settings(self, settings: Iterable[SysctlKey]) -> dict[Key, Value]:
        """These sysctls alone."""
        wanted = tuple(settings)
        self._settings.update(wanted)
        return self._sysctls.read(wanted)

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; each one that was not made, with its reason."""
        failures: list[Failure] = []
        for table, group in groupby(changes, key=lambda change: change.key.table):
            same = tuple(group)
            if table == LinkKey.table:
                failures += self._apply_links(same)
            elif table == SysctlKey.table:
                failures += self._apply_settings(same)
            elif table == "elements":
                failures += self._apply_elements(same)
            elif table == AddressKey.table:
                failures += self._apply_addresses(same)
            else:
                failures += self._apply_batch(same)
        return tuple(failures)

    def create_veth(
        self, name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
    ) -> None:
        """Make a pod's veth pair, our end up, the peer down inside the pod's namespace."""
        what = f"add links {name} {link}"
        if not self._scope.has_link(name):
            raise KernelError(what, detail="the name is not one of ours")
        made = nl_link.create_veth(name, link, peer_name, peer_mac, netns_fd)
        create(self.socket, name, made, what)

    def underlay(self, addresses: Sequence[IPAddress]) -> Underlay:
        """The node's way to the other nodes; KernelError if there is none to be found."""
        return find_underlay(self.socket, addresses)

    def _read_netlink(self) -> dict[Key, Value]:
        try:
            mark, routes = self._nexthops.mark(), list[RouteInfo]()
            state = read_tables(self.socket, self._scope, routes.append)
            self._nexthops.learn(mark, routes)
        except NetlinkError as error:
            raise KernelError("read the kernel's tables", error.errno, error.detail) from error
        return state

    def _apply_settings(self, changes: Sequence[Change]) -> list[Failure]:
        """Write settings; one that is claimed no more keeps its value, for it had one before."""
        failures: list[Failure] = []
        for change in changes:
            key, new = change.key, change.new
            if not isinstance(key, SysctlKey) or not isinstance(new, Sysctl):
                continue
            self._settings.add(key)
            try:
                self._sysctls.write(key, new)
            except KernelError as error:
                failures.append(Failure(change, error))
        return failures

    def _apply_elements(self, changes: Sequence[Change]) -> Sequence[Failure]:
        if self._elements is None:
            error = "this driver was made without nftables"
            return [Failure(change, KernelError(str(change), detail=error)) for change in changes]
        return self._elements.apply(changes)

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
                failures += self.apply(carried)
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
        return self._apply_batch(changes) + list(self.apply(carried))

    def _carried(self, name: str) -> tuple[Change, ...]:
        """What a link may shed as it changes, as the changes that put it back."""
        found: dict[Key, Value] = dict(self._read_netlink())
        here = [key for key in self._settings if name in key.path.split("/")]
        found.update(self._sysctls.read(here))
        return ordered(
            Change(key, None, value)
            for key, value in found.items()
            if _is_on(key, value, name) or key in here
        )

    def _apply_batch(self, changes: Sequence[Change]) -> list[Failure]:
        sure, doubtful = self._send(changes)
        back = [Change(c.key, None, c.old) for c in (f.change for f in sure) if _made_way(c)]
        if back:
            self._apply_batch(back)
        if not doubtful:
            return sure
        # What the kernel found in the way, or did not find, decides.
        actual = self._read_netlink()
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
        """Send changes as one batch; failures for sure, and those that need a closer look."""
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
                    raise KernelError(f"look up link {name}", error.errno, error.detail) from error
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

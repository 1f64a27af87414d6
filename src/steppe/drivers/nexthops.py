"""Nexthop objects for IPv4 routes, so that many of them load in linear time.

The kernel keeps the common part of IPv4 routes in a hash table (fib_info_hashfn in
net/ipv4/fib_semantics.c). The hash uses protocol, scope, source, metric and link, or the id of a
nexthop object, but not the gateway. So routes by thousands of gateways on one link are in one
bucket, and each new one is compared with all others. IPv6 has no such table and needs no objects.

Only hops on Steppe's own devices get an object. When a link loses its carrier, the kernel deletes
its objects and, without events, the routes that use them, and they do not come back with the
carrier; plain routes stay (nh_netdev_event in net/ipv4/nexthop.c). The underlay's link can lose its
carrier, a tunnel device cannot.

Tables, diffs and the walker do not know the objects: the kernel shows such a route with its
gateway, as `10.244.2.0/24 nhid 1403… via 10.244.2.0 dev …`. The id is a hash of the hop, so that a
restarted agent finds its objects. If another program's object has the id, or the kernel has no
nexthop objects, the route is written without one.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from errno import EEXIST
from hashlib import blake2b

from steppe.drivers.errors import KernelError
from steppe.drivers.netlink import nexthop as nh
from steppe.drivers.netlink.route import Index, RouteInfo
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.scope import Scope
from steppe.plan.diff import Change
from steppe.state.node import Key, Value
from steppe.state.route import PROTOCOL, Hop, Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

_SHOWN = SysctlKey("net/ipv4/nexthop_compat_mode")
"""Whether the kernel shows the gateway of a route that goes by an object ("1", its default)."""


ReadSettings = Callable[[Collection[Key]], Mapping[Key, Value]]


def object_id(hop: Hop) -> int:
    """The id for a hop: 31 bits, since some programs read larger ids as negative, and never 0,
    which lets the kernel choose.
    """
    digest = blake2b(f"{hop.link} {hop.via} {hop.onlink}".encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") & 0x7FFFFFFF) or 1


class Nexthops:
    """The nexthop objects of one namespace that our routes use.

    Invariant: `_of` has the object of each route. It is complete after the routes have been read
    (`learn`); before that no object is deleted, and never while a known route uses it, since the
    kernel would delete the route too. `lock` is locked from `ids` to `settle`, so that no object is
    deleted between its creation and its first route.
    """

    def __init__(self, socket: NetlinkSocket, scope: Scope, read: ReadSettings) -> None:
        self.lock = threading.Lock()
        self._socket = socket
        self._scope = scope
        self._read = read
        self._supported: bool | None = None
        self._of: dict[RouteKey, int] = {}
        self._users: Counter[int] = Counter()
        self._unused: set[int] = set()
        self._complete = False
        self._mark = 0

    def ids(self, changes: Sequence[Change], index: Index) -> Mapping[RouteKey, int]:
        """The objects for the routes that these changes add or replace, made where missing."""
        self._mark += 1
        hops: dict[int, Hop] = {}
        chosen: dict[RouteKey, int] = {}
        for change in changes:
            hop = self._shared(change.key, change.new)
            if hop is not None and isinstance(change.key, RouteKey) and _is_there(hop, index):
                number = object_id(hop)
                # Of two hops with one id in a batch the second goes without.
                if hops.setdefault(number, hop) == hop:
                    chosen[change.key] = number
        if not chosen or not self._may_be_used():
            return {}
        usable = self._made(hops, index)
        return {key: number for key, number in chosen.items() if number in usable}

    def settle(self, made: Iterable[Change], ids: Mapping[RouteKey, int]) -> None:
        """Note which objects routes use after these changes, and delete those that none does."""
        self._mark += 1
        for change in made:
            if not isinstance(change.key, RouteKey):
                continue
            before = self._of.pop(change.key, None)
            if before is not None:
                self._users[before] -= 1
                self._unused.add(before)
            number = ids.get(change.key) if change.new is not None else None
            if number is not None:
                self._of[change.key] = number
                self._users[number] += 1
        if self._complete and self._unused:
            gone = [number for number in self._unused if self._users[number] <= 0]
            self._unused.clear()
            self._socket.batch([nh.delete_nexthop(number) for number in gone])

    def mark(self) -> int:
        """A mark to take before the routes are read; `learn` needs it."""
        return self._mark

    def learn(self, mark: int, routes: Iterable[RouteInfo]) -> None:
        """Take in all our routes in the kernel; objects that no route uses may then be deleted.

        A reading during which changes were made is ignored: it may be inconsistent.
        """
        listed = self._listed() if self._supported is not False and not self._scope.link else None
        with self.lock:
            if listed is None or mark != self._mark:
                return
            self._of = {info.key: info.nexthop for info in routes if info.nexthop}
            self._users = Counter(self._of.values())
            self._unused = listed - self._users.keys()
            self._complete = True

    def _shared(self, key: Key, value: Value | None) -> Hop | None:
        """The hop of a route that goes by an object; None for others."""
        if not isinstance(key, RouteKey) or not isinstance(value, Route) or self._scope.link:
            return None
        if key.prefix.version != 4 or len(value.hops) != 1:
            return None
        (hop,) = value.hops
        if hop.via is None or hop.via.version != 4 or hop.encap is not None:
            return None
        return hop if self._scope.has_link(hop.link) else None

    def _made(self, hops: Mapping[int, Hop], index: Index) -> set[int]:
        """The ids under which the kernel now has these hops."""
        wanted = [
            nh.add_nexthop(number, hop.via, index(hop.link), onlink=hop.onlink)
            for number, hop in hops.items()
            if hop.via is not None
        ]
        usable: set[int] = set()
        for (number, hop), error in zip(hops.items(), self._socket.batch(wanted), strict=True):
            if error is None or (error.errno == EEXIST and self._is(number, hop, index)):
                usable.add(number)
        return usable

    def _is(self, number: int, hop: Hop, index: Index) -> bool:
        """Whether the object that has this id is ours and this very hop."""
        try:
            there = nh.read_nexthop(self._socket.get(nh.get_nexthop(number)))
        except NetlinkError:
            return False
        found = there.protocol, there.index, there.via, there.onlink
        return found == (PROTOCOL, index(hop.link), hop.via, hop.onlink)

    def _may_be_used(self) -> bool:
        """Whether the kernel has such objects (since Linux 5.3), and shows routes whole."""
        if self._supported is None:
            self._supported = self._listed() is not None
        if not self._supported:
            return False
        try:
            return self._read([_SHOWN]).get(_SHOWN) == Sysctl("1")
        except KernelError:
            return False  # a route without an object is right in any case

    def _listed(self) -> set[int] | None:
        """The ids of our objects; None where the kernel has none or does not tell."""
        try:
            found = map(nh.read_nexthop, self._socket.dump(nh.list_nexthops()))
            return {one.id for one in found if one.protocol == PROTOCOL}
        except NetlinkError:
            return None


def _is_there(hop: Hop, index: Index) -> bool:
    try:
        return bool(index(hop.link))
    except KernelError:
        return False  # the route itself will say so

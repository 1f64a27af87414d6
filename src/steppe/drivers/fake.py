"""A kernel in memory that refuses what the real one refuses (tests/drivers/test_contract.py).

It has the interface of KernelDriver with nftables. It starts with an underlay: links with addresses
that are not Steppe's but that routes and tunnels may use.

`remove`, `put` and `flush` are changes by other programs; `refuse` sets further errors.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from errno import (
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETUNREACH,
    ENODEV,
    ENOENT,
)
from typing import Self

import msgspec

from steppe.drivers.driver import NOTHING, Fault, only
from steppe.drivers.errors import Failure, KernelError, TablesChangedError
from steppe.drivers.events import Event, Lost, Seen
from steppe.drivers.fake_watch import FakeWatch
from steppe.drivers.scope import NODE, Scope
from steppe.kube.objects import Underlay
from steppe.net.address import IPAddress, IPInterface
from steppe.plan.diff import Change
from steppe.state.device import Veth
from steppe.state.link import (
    AddressKey,
    ForwardingKey,
    Link,
    LinkKey,
    NeighbourKey,
)
from steppe.state.nft import ElementKey, Skeleton
from steppe.state.node import TABLES, Key, Value
from steppe.state.route import MAIN, Hop, Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

_CONNECTED = 256
"""The metric of the route that comes with an IPv6 address (IP6_RT_PRIO_ADDRCONF)."""
_GLOBAL_SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
)
_LINK_SETTINGS = {
    "ipv4": ("rp_filter", "arp_ignore", "forwarding", "proxy_arp"),
    "ipv6": ("accept_ra", "forwarding", "disable_ipv6"),
}


class _RefusedError(Exception):
    def __init__(self, errno: int, detail: str = "") -> None:
        super().__init__(detail)
        self.errno = errno
        self.detail = detail


class FakeKernel:
    """One network namespace that exists in memory only."""

    tables = frozenset(TABLES)

    def __init__(
        self,
        underlay: Sequence[Underlay] = (),
        skeleton: Skeleton | None = None,
        scope: Scope = NODE,
    ) -> None:
        self._scope = scope
        self._underlay: Mapping[str, Underlay] = {link.link: link for link in underlay}
        self._skeleton = skeleton
        self._sets: frozenset[str] = frozenset()  # there are none before `ensure`
        self._state: dict[Key, Value] = {}
        self._watches: list[FakeWatch] = []
        self._peers: dict[str, tuple[FakeKernel, str]] = {}
        self.refuse: Callable[[Change], int] = lambda _: 0
        """Gives the errno with which a change is refused; 0 to make it."""
        self.restless = 0
        """How many of the next readings fail because the tables change."""
        self.inside: Mapping[int, FakeKernel] = {}
        """The kernels in other namespaces, by their descriptors; a veth pair may end there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def check(self) -> tuple[Fault, ...]:
        """The skeleton's table, where it is not there."""
        if self._skeleton is None or self._sets:
            return ()
        return (Fault(f"table inet {self._skeleton.table}", "missing"),)

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        """Make the skeleton's table, with these elements if it was gone; returns the faults."""
        found = self.check()
        if self._skeleton is not None:
            self._sets = frozenset(spec.name for spec in self._skeleton.sets)
        if found:
            elements = (key for key in desired if isinstance(key, ElementKey))
            self.apply([Change(key, None, desired[key]) for key in elements])
        return found

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """All tables, or these alone; of the sysctls only those wanted."""
        if self.restless:
            self.restless -= 1
            raise TablesChangedError("read the kernel's tables", "they changed meanwhile")
        asked = {key for key in wanted if isinstance(key, SysctlKey)}
        return {
            key: value
            for key, value in only(self._state, tables).items()
            if not isinstance(key, SysctlKey) or key in asked
        }

    def watch(self) -> FakeWatch:
        """What others do from now on."""
        self._watches.append(FakeWatch())
        return self._watches[-1]

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; each one that was not made, with its reason."""
        failures: list[Failure] = []
        for change in changes:
            try:
                self._refuse(change)
                self._change(change.key, change.new)
            except _RefusedError as error:
                reason = KernelError(str(change), error.errno, error.detail)
                failures.append(Failure(change, reason))
        return tuple(failures)

    def create_veth(
        self, name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
    ) -> None:
        """Make a pod's veth pair, its peer in the kernel that the descriptor stands for, if any."""
        what = f"add links {name} {link}"
        if not self._scope.has_link(name):
            raise KernelError(what, detail="the name is not one of ours")
        try:
            self._refuse(Change(LinkKey(name), None, link))
        except _RefusedError as error:
            raise KernelError(what, error.errno, error.detail) from error
        pod = self.inside.get(netns_fd)
        if self._has_link(name) or (pod is not None and pod.alias(peer_name) is not None):
            raise KernelError(what, EEXIST)
        self._state[LinkKey(name)] = link
        if pod is not None:
            pod.connect(peer_name, Link(Veth(), link.mtu, peer_mac, up=False), self, name)
            self._peers[name] = (pod, peer_name)

    def connect(self, name: str, link: Link, peer: "FakeKernel", peer_name: str) -> None:
        """Add the other end of a veth pair to this kernel."""
        self._state[LinkKey(name)] = link
        self._peers[name] = (peer, peer_name)

    def aliases(self) -> dict[str, str]:
        """The alias of each link."""
        own = {
            k.name: v.alias
            for k, v in self._state.items()
            if isinstance(v, Link) and isinstance(k, LinkKey)
        }
        return {**dict.fromkeys(self._underlay, ""), **own}

    def alias(self, name: str) -> str | None:
        """The alias of one link; None if it is not there."""
        return self.aliases().get(name)

    def addresses(self) -> tuple[IPAddress, ...]:
        """All addresses of all links."""
        return tuple(self._local_addresses())

    def number(self, netns_fd: int) -> int | None:
        """The number of a namespace that a veth pair leads to: it is its descriptor here."""
        led_to = {id(pod) for pod, _ in self._peers.values()}
        return netns_fd if id(self.inside.get(netns_fd)) in led_to else None

    def number_behind(self, name: str) -> int | None:
        """The number of the namespace with a link's other end; None for none, or no link."""
        pod, _ = self._peers.get(name, (None, ""))
        return next((fd for fd, kernel in self.inside.items() if kernel is pod), None)

    def remove(self, key: Key) -> None:
        """Another program deletes one entry, with all consequences in the kernel."""
        self._change(key, None)
        self._tell(Seen(key, None))
        if isinstance(key, LinkKey):
            self._tell(Lost(f"link {key.name} was deleted", key.name))

    def put(self, key: Key, value: Value) -> None:
        """Another program changes the value of a key."""
        self._change(key, value)
        self._tell(Seen(key, value))

    def flush(self) -> None:
        """Another program deletes the skeleton's table, and with it all elements."""
        self._sets = frozenset()
        self._drop([key for key in self._state if isinstance(key, ElementKey)])
        self._tell(Lost("another program has changed the table"))

    def _tell(self, event: Event) -> None:
        for watch in self._watches:
            watch.take(event)

    def _refuse(self, change: Change) -> None:
        number = self.refuse(change)
        if number:
            raise _RefusedError(number, "as it was told to")

    def _change(self, key: Key, new: Value | None) -> None:
        if isinstance(key, LinkKey):
            self._change_link(key, new)
        elif isinstance(key, SysctlKey):
            self._change_setting(key, new)
        elif new is None:
            if key in self._state:
                del self._state[key]
                self._follow(key)
        else:
            self._check(key, new)
            self._state[key] = new

    def _check(self, key: Key, new: Value) -> None:
        if isinstance(key, RouteKey) and isinstance(new, Route):
            self._check_route(key, new)
        elif isinstance(key, ElementKey):
            if key.set not in self._sets:
                raise _RefusedError(ENOENT, f"there is no set {key.set}")
        elif isinstance(key, AddressKey | NeighbourKey | ForwardingKey) and not self._has_link(
            key.link
        ):
            raise _RefusedError(ENODEV, f"link {key.link}")

    def _change_link(self, key: LinkKey, new: Value | None) -> None:
        if not self._scope.has_link(key.name):
            raise _RefusedError(0, "the name is not one of ours")
        old = self._state.get(key)
        if not isinstance(new, Link):
            self._state.pop(key, None)
            self._part(key.name)
            self._leave_hops(key.name)
            self._drop(
                k
                for k, value in self._state.items()
                if getattr(k, "link", "") == key.name
                or (isinstance(value, Route) and key.name in value.links)
                or (isinstance(k, SysctlKey) and key.name in k.path.split("/"))
            )
            return
        if isinstance(old, Link) and old.kind.name != new.kind.name:
            raise _RefusedError(EEXIST, f"it is a {old.kind.name}")
        if new.kind.made_by_attaching:
            if old is None:
                raise _RefusedError(ENODEV, "the pod's link is gone; it is made again by attaching")
        elif new.kind.lower and not self._has_link(new.kind.lower):
            raise _RefusedError(ENODEV, f"its underlay {new.kind.lower}")
        self._state[key] = new

    def _part(self, name: str) -> None:
        """Delete the other end of a veth pair together with this one."""
        peer, peer_name = self._peers.pop(name, (None, ""))
        if peer is not None and peer.alias(peer_name) is not None:
            peer.remove(LinkKey(peer_name))

    def _leave_hops(self, link: str) -> None:
        """IPv6 takes one hop out of a route that has others; IPv4 drops the whole route."""
        for key, value in self._state.items():
            if isinstance(key, RouteKey) and isinstance(value, Route) and key.prefix.version == 6:
                left = tuple(hop for hop in value.hops if hop.link != link)
                if left:
                    self._state[key] = msgspec.structs.replace(value, hops=left)

    def _change_setting(self, key: SysctlKey, new: Value | None) -> None:
        if not isinstance(new, Sysctl):
            return  # a setting that is no longer claimed keeps its value
        if key.path not in _GLOBAL_SETTINGS:
            parts = key.path.split("/")
            known = (
                len(parts) == 5
                and parts[0] == "net"
                and parts[2] == "conf"
                and parts[4] in _LINK_SETTINGS.get(parts[1], ())
                and (parts[3] in ("all", "default", "lo") or self._has_link(parts[3]))
            )
            if not known:
                raise _RefusedError(ENOENT)
        self._state[key] = new

    def _check_route(self, key: RouteKey, new: Route) -> None:
        if not key.metric:
            raise _RefusedError(EINVAL, "a route without a metric")
        if new.kind != "unicast":
            return
        for hop in new.hops:
            if not self._has_link(hop.link):
                raise _RefusedError(ENODEV, f"link {hop.link}")
        if new.source is not None and new.source not in set(self._local_addresses()):
            raise _RefusedError(EINVAL, "Invalid prefsrc address")
        for hop in new.hops:
            if hop.via is not None:
                self._check_hop(key, hop, hop.via)

    def _check_hop(self, key: RouteKey, hop: Hop, via: IPAddress) -> None:
        if key.prefix.version == 6 and via.version == 4:
            raise _RefusedError(EINVAL, "IPv6 does not support RTA_VIA attribute")
        if hop.onlink:
            if self._found_elsewhere(key, via, hop.link):
                raise _RefusedError(EINVAL, "Nexthop has invalid gateway or device mismatch")
        elif not self._reaches(via, hop.link):
            raise _RefusedError(ENETUNREACH if via.version == 4 else EHOSTUNREACH)

    def _found_elsewhere(self, key: RouteKey, via: IPAddress, link: str) -> bool:
        """Whether IPv6, which looks even an on-link next hop up, finds it by another link."""
        if via.version == 4 or via.is_link_local:
            return False
        names = (*self._underlay, *(k.name for k in self._state if isinstance(k, LinkKey)))
        found = [(own.network, name) for name in names for own in self._addresses_on(name)]
        found += [
            (other.prefix, name)
            for other, value in self._state.items()
            if isinstance(other, RouteKey)
            and isinstance(value, Route)
            and other.routing_table == MAIN
            and other != key
            for name in value.links or (link,)
        ]
        matching = [
            (prefix.prefixlen, name)
            for prefix, name in found
            if prefix.version == via.version and prefix.prefixlen and via in prefix
        ]
        return bool(matching) and max(matching)[1] != link

    def _reaches(self, via: IPAddress, link: str) -> bool:
        """Whether a prefix of the link, or a route straight onto it, holds the next hop."""
        if via in set(self._local_addresses()):
            return False
        if via.version == 6 and via.is_link_local:
            return True
        connected = (interface.network for interface in self._addresses_on(link))
        direct = [(prefix.prefixlen, -_CONNECTED) for prefix in connected if via in prefix]
        through = [(-1, 0)]
        for key, value in self._state.items():
            if isinstance(key, RouteKey) and isinstance(value, Route) and via in key.prefix:
                straight = any(hop.link == link and hop.via is None for hop in value.hops)
                (direct if straight else through).append((key.prefix.prefixlen, -key.metric))
        # IPv6 looks the next hop up like any destination: the most specific route decides
        # (ip6_route_check_nh in net/ipv6/route.c). IPv4 skips routes that have a next hop.
        return bool(direct) and (via.version == 4 or max(direct) > max(through))

    def _follow(self, key: Key) -> None:
        """Delete or change the entries that depend on an entry."""
        if not isinstance(key, AddressKey):
            return
        for other, value in list(self._state.items()):
            if isinstance(value, Route) and value.source == key.address.ip:
                if key.address.version == 4:
                    del self._state[other]
                else:
                    # IPv6 keeps the route and forgets the preference (rt6_remove_prefsrc).
                    self._state[other] = msgspec.structs.replace(value, source=None)

    def _drop(self, keys: Iterable[Key]) -> None:
        for key in tuple(keys):
            if self._state.pop(key, None) is not None:
                self._follow(key)

    def _has_link(self, name: str) -> bool:
        return name in self._underlay or LinkKey(name) in self._state

    def _addresses_on(self, link: str) -> list[IPInterface]:
        there = self._underlay.get(link)
        own = [k.address for k in self._state if isinstance(k, AddressKey) and k.link == link]
        return [*(there.addresses if there else ()), *own]

    def _local_addresses(self) -> Iterable[IPAddress]:
        for link in self._underlay.values():
            yield from (address.ip for address in link.addresses)
        for key in self._state:
            if isinstance(key, AddressKey):
                yield key.address.ip

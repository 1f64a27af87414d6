"""A kernel in memory that refuses what the real one refuses (tests/drivers/test_contract.py).

It has the interface of KernelDriver and starts as a namespace that someone else has given an
underlay: links with addresses that are not Steppe's but that routes and tunnels may use.
"""

from collections.abc import Iterable, Mapping, Sequence
from errno import (
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETUNREACH,
    ENODEV,
    ENOENT,
)

import msgspec

from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.scope import NODE, Scope
from steppe.kube.objects import Underlay
from steppe.net.address import IPAddress, IPInterface
from steppe.plan.diff import Change
from steppe.state.link import (
    AddressKey,
    ForwardingKey,
    Link,
    LinkKey,
    NeighbourKey,
)
from steppe.state.nft import ElementKey, Skeleton
from steppe.state.node import Key, Value
from steppe.state.route import MAIN, Hop, Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

_GLOBAL_SETTINGS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_LINK_SETTINGS = {
    "ipv4": ("rp_filter", "forwarding", "proxy_arp"),
    "ipv6": ("accept_ra", "forwarding", "disable_ipv6"),
}


class _RefusedError(Exception):
    def __init__(self, errno: int, detail: str = "") -> None:
        super().__init__(detail)
        self.errno = errno
        self.detail = detail


class FakeKernel:
    """One network namespace that exists in memory only."""

    def __init__(
        self,
        underlay: Sequence[Underlay] = (),
        skeleton: Skeleton | None = None,
        scope: Scope = NODE,
    ) -> None:
        self._scope = scope
        self._underlay: Mapping[str, Underlay] = {link.link: link for link in underlay}
        self._sets = {spec.name: spec for spec in skeleton.sets} if skeleton else {}
        self._state: dict[Key, Value] = {}

    def close(self) -> None:
        """Nothing is open."""

    def read(self, settings: Iterable[SysctlKey] = ()) -> dict[Key, Value]:
        """All tables; of the sysctls only those asked for."""
        wanted = set(settings)
        return {
            key: value
            for key, value in self._state.items()
            if not isinstance(key, SysctlKey) or key in wanted
        }

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; each one that was not made, with its reason."""
        failures: list[Failure] = []
        for change in changes:
            try:
                self._change(change.key, change.new)
            except _RefusedError as error:
                reason = KernelError(str(change), error.errno, error.detail)
                failures.append(Failure(change, reason))
        return tuple(failures)

    def create_veth(
        self, name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
    ) -> None:
        """Make our end of a pod's veth pair; nothing is done inside the pod."""
        del peer_name, peer_mac, netns_fd
        what = f"add links {name} {link}"
        if not self._scope.has_link(name):
            raise KernelError(what, detail="the name is not one of ours")
        if self._has_link(name):
            raise KernelError(what, EEXIST)
        self._state[LinkKey(name)] = link

    def underlay(self, addresses: Sequence[IPAddress]) -> Underlay:
        """The link that holds one of the addresses; the fake has no default route to go by."""
        for address in addresses:
            for link in self._underlay.values():
                if any(own.ip == address for own in link.addresses):
                    return link
        raise KernelError("find the underlay", detail="no link holds any of these addresses")

    def remove(self, key: Key) -> None:
        """What somebody else's hand does to one entry, with all that follows from it."""
        self._change(key, None)

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
                raise _RefusedError(ENODEV, "the pod's link is gone; it is made anew by attaching")
        elif new.kind.lower and not self._has_link(new.kind.lower):
            raise _RefusedError(ENODEV, f"its underlay {new.kind.lower}")
        self._state[key] = new

    def _leave_hops(self, link: str) -> None:
        """IPv6 takes one hop out of a route that has others; IPv4 drops the whole route."""
        for key, value in self._state.items():
            if isinstance(key, RouteKey) and isinstance(value, Route) and key.prefix.version == 6:
                left = tuple(hop for hop in value.hops if hop.link != link)
                if left:
                    self._state[key] = msgspec.structs.replace(value, hops=left)

    def _change_setting(self, key: SysctlKey, new: Value | None) -> None:
        if not isinstance(new, Sysctl):
            return  # a setting that is claimed no more keeps its value
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
        prefixes = [interface.network for interface in self._addresses_on(link)]
        prefixes += [
            key.prefix
            for key, value in self._state.items()
            if isinstance(key, RouteKey)
            and isinstance(value, Route)
            and any(hop.link == link and hop.via is None for hop in value.hops)
        ]
        return any(via.version == prefix.version and via in prefix for prefix in prefixes)

    def _follow(self, key: Key) -> None:
        """What goes, or changes, with an entry."""
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

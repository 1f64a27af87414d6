"""Routes (`ip route`, ip-route(8)).

The key of a route is prefix, routing table and metric. Ours always have a metric, because the
defaults of the two families differ (IPv4 0, IPv6 1024). An IPv4 route of ours with metric 0 is from
an earlier version, and is only deleted.
"""

import struct
from collections.abc import Callable

import msgspec

from steppe.drivers.netlink import encap
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import IPAddress, IPNetwork, address_of, prefix_of
from steppe.state.route import PROTOCOL, Hop, Route, RouteKey, RouteKind, in_order

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXTHOP = struct.Struct("=HBBi")
_FAMILY = struct.Struct("=H")
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_PREFSRC = 7
_RTA_METRICS = 8
_RTA_MULTIPATH = 9
_RTA_TABLE = 15
_RTA_VIA = 18
_RTA_NH_ID = 30
_RTAX_MTU = 2
_RTNH_F_ONLINK = 4
_RTM_F_CLONED = 0x200
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_SCOPE_NOWHERE = 255
AF_INET = 2
AF_INET6 = 10

_KINDS: dict[int, RouteKind] = {
    1: "unicast",
    2: "local",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}

Index = Callable[[str], int]
"""The index of a link by its name; 0 for a link that is not there."""


class RouteInfo(msgspec.Struct, frozen=True):
    """A route, who put it there (rtm_protocol), and its nexthop object's id (0: it has none)."""

    key: RouteKey
    route: Route
    protocol: int
    nexthop: int = 0


def list_routes(family: int, protocol: int = 0) -> Request:
    """A dump; strict checking lets the kernel itself pass over others' protocols (0: none)."""
    return Request(RTM_GETROUTE, _RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))


def add_route(
    key: RouteKey, route: Route, index: Index, *, replace: bool = False, nexthop: int = 0
) -> Request:
    """Add a route, or replace the route with this key.

    `index` gives the index of a link. `nexthop` is the id of a nexthop object for the route's only
    hop; with 0 the hop is written into the route itself.
    """
    flags = nl.NLM_F_CREATE | (nl.NLM_F_REPLACE if replace else nl.NLM_F_EXCL)
    # "link for direct unicast and broadcast routes", "global for all gatewayed unicast routes"
    # (ip-route(8), scope)
    direct = route.kind == "unicast" and all(hop.via is None for hop in route.hops)
    scope = _RT_SCOPE_LINK if direct else _RT_SCOPE_UNIVERSE
    one = route.hops[0] if len(route.hops) == 1 and not nexthop else None
    onlink = _RTNH_F_ONLINK if one is not None and one.onlink else 0
    parts = [_head(key, scope, _NUMBERS[route.kind], onlink)]
    if nexthop:
        parts.append(nl.u32(_RTA_NH_ID, nexthop))
    elif one is not None:
        parts.append(nl.u32(_RTA_OIF, index(one.link)) + _hop_attributes(key, one))
    elif route.hops:
        hops = b"".join(_multipath(key, hop, index(hop.link)) for hop in route.hops)
        parts.append(nl.attribute(_RTA_MULTIPATH, hops))
    if route.source is not None:
        parts.append(nl.attribute(_RTA_PREFSRC, route.source.packed))
    if route.mtu:
        parts.append(nl.nested(_RTA_METRICS, nl.u32(_RTAX_MTU, route.mtu)))
    return Request(RTM_NEWROUTE, b"".join(parts), flags)


def delete_route(key: RouteKey, old: Route, index: Index) -> Request:
    """Delete our route under this key.

    An IPv4 metric of 0 matches any metric, so there the old next hop goes along: it must not be
    another route that the kernel finds. Of several that match it takes the lowest metric.
    """
    head = _head(key, _RT_SCOPE_NOWHERE, _NUMBERS[old.kind], 0)
    if key.metric or len(old.hops) != 1:
        return Request(RTM_DELROUTE, head)
    (hop,) = old.hops
    there = index(hop.link)
    oif = nl.u32(_RTA_OIF, there) if there else b""
    return Request(RTM_DELROUTE, head + oif + _hop_attributes(key, hop))


def _hop_attributes(key: RouteKey, hop: Hop) -> bytes:
    parts: list[bytes] = []
    if hop.via is not None and hop.via.version == key.prefix.version:
        parts.append(nl.attribute(_RTA_GATEWAY, hop.via.packed))
    elif hop.via is not None:
        family = AF_INET if hop.via.version == 4 else AF_INET6
        parts.append(nl.attribute(_RTA_VIA, _FAMILY.pack(family) + hop.via.packed))
    if hop.encap is not None:
        parts.append(encap.written(hop.encap))
    return b"".join(parts)


def _multipath(key: RouteKey, hop: Hop, index: int) -> bytes:
    """One hop of several (struct rtnexthop, and its attributes)."""
    attributes = _hop_attributes(key, hop)
    flags = _RTNH_F_ONLINK if hop.onlink else 0
    length = _NEXTHOP.size + len(attributes)
    return _NEXTHOP.pack(length, flags, hop.weight - 1, index) + attributes


def _head(key: RouteKey, scope: int, kind: int, flags: int) -> bytes:
    prefix = key.prefix
    family = AF_INET if prefix.version == 4 else AF_INET6
    head = _RTMSG.pack(family, prefix.prefixlen, 0, 0, 0, PROTOCOL, scope, kind, flags)
    parts = [head, nl.u32(_RTA_TABLE, key.routing_table)]
    if prefix.prefixlen:
        parts.append(nl.attribute(_RTA_DST, prefix.network_address.packed))
    if key.metric:
        parts.append(nl.u32(_RTA_PRIORITY, key.metric))
    return b"".join(parts)


def read_route(message: Message, names: dict[int, str]) -> RouteInfo | None:
    """The route of a RTM_NEWROUTE or RTM_DELROUTE; None for kinds that no table of ours knows."""
    family, length, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message.body)
    name = _KINDS.get(kind)
    if name is None or family not in (AF_INET, AF_INET6) or flags & _RTM_F_CLONED:
        return None
    found = nl.attributes(message.body, _RTMSG.size)
    if _RTA_TABLE in found:
        table = nl.number(found[_RTA_TABLE])
    metric = nl.number(found.get(_RTA_PRIORITY, b""))
    key = RouteKey(_prefix(family, length, found.get(_RTA_DST)), table, metric)
    if name not in ("unicast", "local"):
        # IPv6 hangs these on the loopback link; to us they have none.
        return RouteInfo(key, Route(name), protocol)
    metrics = nl.attributes(found[_RTA_METRICS]) if _RTA_METRICS in found else {}
    route = Route(
        kind=name,
        hops=_hops(found, flags, names),
        source=_address(found.get(_RTA_PREFSRC)),
        mtu=nl.number(metrics.get(_RTAX_MTU, b"")),
    )
    return RouteInfo(key, route, protocol, nl.number(found.get(_RTA_NH_ID, b"")))


def _hops(found: dict[int, bytes], flags: int, names: dict[int, str]) -> tuple[Hop, ...]:
    several = found.get(_RTA_MULTIPATH)
    if several is None:
        return (_hop(found, flags, nl.number(found.get(_RTA_OIF, b"")), 1, names),)
    hops: list[Hop] = []
    offset = 0
    while offset + _NEXTHOP.size <= len(several):
        length, own, weight, index = _NEXTHOP.unpack_from(several, offset)
        if length < _NEXTHOP.size:
            raise nl.MalformedError(f"a next hop of {length} bytes")
        attributes = nl.attributes(several[offset + _NEXTHOP.size : offset + length])
        hops.append(_hop(attributes, own, index, weight + 1, names))
        offset += (length + 3) & ~3
    return in_order(hops)


def _hop(
    found: dict[int, bytes], flags: int, index: int, weight: int, names: dict[int, str]
) -> Hop:
    via = _address(found.get(_RTA_GATEWAY))
    if via is None and _RTA_VIA in found:
        via = _address(found[_RTA_VIA][_FAMILY.size :])
    return Hop(via, names.get(index, ""), bool(flags & _RTNH_F_ONLINK), weight, encap.read(found))


def _prefix(family: int, length: int, packed: bytes | None) -> IPNetwork:
    return prefix_of(packed or bytes(4 if family == AF_INET else 16), length)


def _address(packed: bytes | None) -> IPAddress | None:
    if packed is None:
        return None
    return address_of(packed)

"""Routes (`ip route`, ip-route(8)).

A route is found by prefix, routing table and metric. The two families differ in what a metric of
0 means: IPv4 has such routes; IPv6 turns 0 into 1024 (IP6_RT_PRIO_USER). RouteKey's 0 is each
family's own default, so for IPv6 we write and read 1024 as 0, and 1024 itself cannot be asked for.
"""

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import IPAddress, IPNetwork
from steppe.state.route import PROTOCOL, Route, RouteKey

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_PREFSRC = 7
_RTA_METRICS = 8
_RTA_TABLE = 15
_RTAX_MTU = 2
_RTNH_F_ONLINK = 4
_RTM_F_CLONED = 0x200
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_SCOPE_NOWHERE = 255
AF_INET = 2
AF_INET6 = 10
IPV6_DEFAULT_METRIC = 1024

_KINDS: dict[int, Literal["unicast", "unreachable", "throw"]] = {
    1: "unicast",
    7: "unreachable",
    9: "throw",
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


class RouteInfo(msgspec.Struct, frozen=True):
    """A route and who put it there (rtm_protocol)."""

    key: RouteKey
    route: Route
    protocol: int


def list_routes(family: int, protocol: int = 0) -> Request:
    """A dump; strict checking lets the kernel itself pass over others' protocols (0: none)."""
    return Request(RTM_GETROUTE, _RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))


def add_route(key: RouteKey, route: Route, index: int, *, replace: bool = False) -> Request:
    """Add, or put in the place of the route that has this key; `index` is the link's, or 0."""
    flags = nl.NLM_F_CREATE | (nl.NLM_F_REPLACE if replace else nl.NLM_F_EXCL)
    # "link for direct unicast and broadcast routes", "global for all gatewayed unicast routes"
    # (ip-route(8), scope)
    direct = route.kind == "unicast" and route.via is None
    scope = _RT_SCOPE_LINK if direct else _RT_SCOPE_UNIVERSE
    parts = [_head(key, scope, _NUMBERS[route.kind], _RTNH_F_ONLINK if route.onlink else 0)]
    if index:
        parts.append(nl.u32(_RTA_OIF, index))
    if route.via is not None:
        parts.append(nl.attribute(_RTA_GATEWAY, route.via.packed))
    if route.source is not None:
        parts.append(nl.attribute(_RTA_PREFSRC, route.source.packed))
    if route.mtu:
        parts.append(nl.nested(_RTA_METRICS, nl.u32(_RTAX_MTU, route.mtu)))
    return Request(RTM_NEWROUTE, b"".join(parts), flags)


def delete_route(key: RouteKey, old: Route, index: int) -> Request:
    """Delete our route under this key.

    An IPv4 metric of 0 matches any metric, so there the old next hop goes along: it must not be
    another route that the kernel finds.
    """
    head = _head(key, _RT_SCOPE_NOWHERE, _NUMBERS[old.kind], 0)
    if key.prefix.version == 6 or key.metric:
        return Request(RTM_DELROUTE, head)
    parts = [head]
    if index:
        parts.append(nl.u32(_RTA_OIF, index))
    if old.via is not None:
        parts.append(nl.attribute(_RTA_GATEWAY, old.via.packed))
    return Request(RTM_DELROUTE, b"".join(parts))


def _head(key: RouteKey, scope: int, kind: int, flags: int) -> bytes:
    prefix = key.prefix
    family = AF_INET if prefix.version == 4 else AF_INET6
    head = _RTMSG.pack(family, prefix.prefixlen, 0, 0, 0, PROTOCOL, scope, kind, flags)
    metric = key.metric
    if not metric and family == AF_INET6:
        metric = IPV6_DEFAULT_METRIC
    parts = [head, nl.u32(_RTA_TABLE, key.routing_table)]
    if prefix.prefixlen:
        parts.append(nl.attribute(_RTA_DST, prefix.network_address.packed))
    if metric:
        parts.append(nl.u32(_RTA_PRIORITY, metric))
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
    if family == AF_INET6 and metric == IPV6_DEFAULT_METRIC:
        metric = 0
    key = RouteKey(_prefix(family, length, found.get(_RTA_DST)), table, metric)
    if name != "unicast":
        # IPv6 hangs these on the loopback link; to us they have none.
        return RouteInfo(key, Route(name), protocol)
    metrics = nl.attributes(found[_RTA_METRICS]) if _RTA_METRICS in found else {}
    route = Route(
        via=_address(found.get(_RTA_GATEWAY)),
        link=names.get(nl.number(found.get(_RTA_OIF, b"")), ""),
        onlink=bool(flags & _RTNH_F_ONLINK),
        source=_address(found.get(_RTA_PREFSRC)),
        mtu=nl.number(metrics.get(_RTAX_MTU, b"")),
    )
    return RouteInfo(key, route, protocol)


def _prefix(family: int, length: int, packed: bytes | None) -> IPNetwork:
    if family == AF_INET:
        return IPv4Network((packed or bytes(4), length))
    return IPv6Network((packed or bytes(16), length))


def _address(packed: bytes | None) -> IPAddress | None:
    if packed is None:
        return None
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)

"""Routes, and rules that choose a routing table; the words are those of ip-route(8), ip-rule(8)."""

from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress, IPNetwork, sort_key

MAIN = 254
"""The kernel's main routing table (RT_TABLE_MAIN in rtnetlink(7))."""

PROTOCOL = 83
"""Marks Steppe's routes and rules in the kernel (rtm_protocol, "S"): no others are changed."""


METRIC = 1024
"""The metric of all Steppe's routes. Of routes to one prefix the kernel uses the lowest metric.

It is IPv6's default for a route without metric (IP6_RT_PRIO_USER). IPv4's default is 0, so routes
of both families that another daemon writes without a metric would be used before ours in one family
and after ours in the other.
"""


class RouteKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "routes"
    prefix: IPNetwork
    routing_table: int = MAIN
    metric: int = METRIC

    @property
    def level(self) -> int:
        """The main table first: an on-link next hop of another table must not be reached by a
        route of the main table over another link (ip6_route_check_nh_onlink: "device mismatch").
        """
        return 60 if self.routing_table == MAIN else 61

    def links(self, value: object) -> tuple[str, ...]:
        return value.links if isinstance(value, Route) else ()

    def __str__(self) -> str:
        table = f" table {self.routing_table}" if self.routing_table != MAIN else ""
        return f"{self.prefix}{table} metric {self.metric}"


class Encap(msgspec.Struct, frozen=True):
    """The outer header that a route gives for an `external` tunnel device.

    `encap ip id ID src SOURCE dst DESTINATION ttl TTL` in ip-route(8), or `encap ip6`, by the
    destination's family. With a `ttl` of 0 the kernel chooses it; with no `source` it takes the one
    of the route to the destination. `checksum`: the outer UDP header has one (`csum`).
    """

    destination: IPAddress
    id: int = 0
    ttl: int = 0
    source: IPAddress | None = None
    checksum: bool = False

    def __str__(self) -> str:
        family = "ip" if self.destination.version == 4 else "ip6"
        ttl = f" ttl {self.ttl}" if self.ttl else ""
        source = f" src {self.source}" if self.source else ""
        checksum = " csum" if self.checksum else ""
        return f"encap {family} id {self.id}{source} dst {self.destination}{ttl}{checksum}"


class Hop(msgspec.Struct, frozen=True):
    """One next hop: `via` on `link`, or the link itself if `via` is None.

    `via` may be of the other family (`via inet6 …`, RFC 5549). `onlink`: `via` is taken to be on
    the link although no prefix of the link contains it. `weight` (1 to 256) is this hop's share of
    the flows, relative to the weights of the route's other hops.
    """

    via: IPAddress | None = None
    link: str = ""
    onlink: bool = False
    weight: int = 1
    encap: Encap | None = None

    def __str__(self) -> str:
        words = [str(self.encap)] if self.encap else []
        words += [f"via {self.via}"] if self.via else []
        words += [f"dev {self.link}"] if self.link else []
        words += ["onlink"] if self.onlink else []
        return " ".join(words)


RouteKind = Literal["unicast", "unreachable", "throw", "blackhole", "prohibit", "local"]
"""The kinds of route in ip-route(8). Steppe makes the first three; others are only read: `local` is
what the machine takes for itself."""


class Route(msgspec.Struct, frozen=True):
    """Where packets to the prefix go.

    `source` is the preferred source address of packets that this machine itself sends; `mtu`
    (bytes) is the path's limit. A unicast route has at least one hop, other kinds have none. Hops
    are in the order of `in_order`, so that equal routes compare equal however the kernel lists
    them.
    """

    kind: RouteKind = "unicast"
    hops: tuple[Hop, ...] = ()
    source: IPAddress | None = None
    mtu: int = 0

    @property
    def links(self) -> tuple[str, ...]:
        """The links of the hops, each once."""
        return tuple(dict.fromkeys(hop.link for hop in self.hops))

    def __str__(self) -> str:
        words: list[str] = [] if self.kind == "unicast" else [self.kind]
        words += [str(hop) for hop in self.hops] if len(self.hops) == 1 else []
        words += [f"src {self.source}"] if self.source else []
        words += [f"mtu {self.mtu}"] if self.mtu else []
        if len(self.hops) > 1:
            words += [f"nexthop {hop} weight {hop.weight}" for hop in self.hops]
        return " ".join(words)


def route_by(
    link: str,
    via: IPAddress | None = None,
    *,
    onlink: bool = False,
    source: IPAddress | None = None,
    mtu: int = 0,
) -> Route:
    """A route with one hop."""
    return Route(hops=(Hop(via, link, onlink),), source=source, mtu=mtu)


def in_order(hops: Iterable[Hop]) -> tuple[Hop, ...]:
    """The hops of one route in the order that a Route keeps them in."""
    return tuple(sorted(hops, key=_place))


def _place(hop: Hop) -> tuple[str, tuple[int, int, int], str, int]:
    via = sort_key(hop.via) if hop.via is not None else (0, 0, 0)
    return hop.link, via, str(hop.encap or ""), hop.weight


class RuleKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "rules"
    level: ClassVar[int] = 70
    source: IPNetwork
    priority: int

    def links(self, _: object) -> tuple[str, ...]:
        return ()

    def __str__(self) -> str:
        return f"{self.priority}: from {self.source}"


class Rule(msgspec.Struct, frozen=True):
    routing_table: int

    def __str__(self) -> str:
        return f"lookup {self.routing_table}"

"""Routes, and the rules that choose among routing tables, in the words of ip-route(8)."""

from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress, IPNetwork

MAIN = 254
"""The kernel's main routing table (RT_TABLE_MAIN in rtnetlink(7))."""

PROTOCOL = 83
"""Marks what is Steppe's in the kernel (rtm_protocol, "S"): everything else is left alone."""


class RouteKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "routes"
    level: ClassVar[int] = 60
    prefix: IPNetwork
    routing_table: int = MAIN
    metric: int = 0

    def __str__(self) -> str:
        text = str(self.prefix)
        if self.routing_table != MAIN:
            text += f" table {self.routing_table}"
        return f"{text} metric {self.metric}" if self.metric else text


class Route(msgspec.Struct, frozen=True):
    """Where packets to the prefix go.

    `onlink`: the next hop is taken to be on the link although no address there says so.
    `source` is preferred when this machine itself speaks; `mtu` (bytes) bounds the path.
    """

    kind: Literal["unicast", "unreachable", "throw"] = "unicast"
    via: IPAddress | None = None
    link: str = ""
    onlink: bool = False
    source: IPAddress | None = None
    mtu: int = 0

    def __str__(self) -> str:
        words: list[str] = [] if self.kind == "unicast" else [self.kind]
        words += [f"via {self.via}"] if self.via else []
        words += [f"dev {self.link}"] if self.link else []
        words += ["onlink"] if self.onlink else []
        words += [f"src {self.source}"] if self.source else []
        words += [f"mtu {self.mtu}"] if self.mtu else []
        return " ".join(words)


class RuleKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "rules"
    level: ClassVar[int] = 70
    source: IPNetwork
    priority: int

    def __str__(self) -> str:
        return f"{self.priority}: from {self.source}"


class Rule(msgspec.Struct, frozen=True):
    routing_table: int

    def __str__(self) -> str:
        return f"lookup {self.routing_table}"

"""The nftables vocabulary: a fixed skeleton of sets, chains and rules, and the elements in it.

Rules stand still; elements move. The skeleton is one value, the same on every node and written
once; what changes with the cluster are elements, and only they are claimed, each with its cause.
"""

from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress, IPNetwork

Atom = IPAddress | IPNetwork | int | str


class Set(msgspec.Struct, frozen=True):
    """A named set; `interval` sets hold prefixes, others single values."""

    name: str
    type: str
    interval: bool = False
    comment: str = ""


class Match(msgspec.Struct, frozen=True):
    """One condition: a field in nft's words, against the members of a set or one literal."""

    field: str
    set: str = ""
    literal: str = ""
    negate: bool = False

    def __str__(self) -> str:
        right = f"@{self.set}" if self.set else self.literal
        return f"{self.field} != {right}" if self.negate else f"{self.field} {right}"


class Rule(msgspec.Struct, frozen=True):
    matches: tuple[Match, ...]
    verdict: Literal["accept", "drop", "return", "masquerade"]
    comment: str = ""

    def __str__(self) -> str:
        text = " ".join((*map(str, self.matches), self.verdict))
        return f'{text} comment "{self.comment}"' if self.comment else text


class Chain(msgspec.Struct, frozen=True):
    """A base chain: where in the kernel it hooks in, at which priority, and its rules."""

    name: str
    type: Literal["filter", "nat"]
    hook: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int
    rules: tuple[Rule, ...]


class Skeleton(msgspec.Struct, frozen=True):
    """All of a table that does not move."""

    table: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]


class ElementKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "elements"
    set: str
    key: tuple[Atom, ...]

    def __str__(self) -> str:
        return f"@{self.set} {' . '.join(map(str, self.key))}"


class Element(msgspec.Struct, frozen=True):
    """What a map holds under a key; a set's element holds nothing."""

    data: tuple[Atom, ...] = ()

    def __str__(self) -> str:
        return f": {' . '.join(map(str, self.data))}" if self.data else ""

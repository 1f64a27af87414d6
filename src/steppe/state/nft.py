"""The nftables vocabulary: a fixed skeleton of sets, maps, chains and rules, and their elements.

Rules stand still; elements move. The skeleton is one value, the same on every node and written
once; what changes with the cluster are elements, and only they are claimed, each with its cause.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress, IPNetwork

Atom = IPAddress | IPNetwork | int | str
Verdict = Literal["accept", "drop", "return", "masquerade"]


class Set(msgspec.Struct, frozen=True):
    """A named set, or a map if its elements hold `data` ("verdict" for a verdict map).

    `interval` sets hold prefixes in their first field, and so do `interval` maps, but there no
    prefix may cover another. The elements of a `dynamic` one are the kernel's own: rules put them
    in, and they go when their time is over.
    """

    name: str
    type: str
    interval: bool = False
    comment: str = ""
    data: str = ""
    dynamic: bool = False


class Match(msgspec.Struct, frozen=True):
    """One condition: fields in nft's words, against the members of a set or one literal."""

    field: str
    set: str = ""
    literal: str = ""
    negate: bool = False

    def __str__(self) -> str:
        right = f"@{self.set}" if self.set else self.literal
        return f"{self.field} != {right}" if self.negate else f"{self.field} {right}"


class Marked(msgspec.Struct, frozen=True):
    """The condition that a packet's mark has these bits."""

    bits: int

    def __str__(self) -> str:
        return f"meta mark & {self.bits:#010x} == {self.bits:#010x}"


class SetMark(msgspec.Struct, frozen=True):
    """Set bits of the packet's mark; the next rule follows."""

    bits: int

    def __str__(self) -> str:
        return f"meta mark set meta mark | {self.bits:#010x}"


class Go(msgspec.Struct, frozen=True):
    """On to another chain, and back again after a `jump`."""

    how: Literal["goto", "jump"]
    chain: str

    def __str__(self) -> str:
        return f"{self.how} {self.chain}"


class Dispatch(msgspec.Struct, frozen=True):
    """The verdict that a map holds for these fields; without one the next rule follows."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"{self.field} vmap @{self.map}"


class Choose(msgspec.Struct, frozen=True):
    """Note a number below `of`, at random, as the packet's priority; the next rule follows."""

    of: int

    def __str__(self) -> str:
        return f"meta priority set numgen random mod {self.of}"


class Clear(msgspec.Struct, frozen=True):
    """Note nothing as the packet's priority; the next rule follows."""

    def __str__(self) -> str:
        return "meta priority set none"


class Recall(msgspec.Struct, frozen=True):
    """Note what a map holds for these fields as the packet's priority; the next rule follows."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"meta priority set {self.field} map @{self.map}"


class Remember(msgspec.Struct, frozen=True):
    """Hold the packet's priority in a dynamic map for so long; what is there stays as it is."""

    field: str
    map: str
    seconds: int

    def __str__(self) -> str:
        held = f"{self.field} timeout {_span(self.seconds)} : meta priority"
        return f"update @{self.map} {{ {held} }}"


class Forget(msgspec.Struct, frozen=True):
    """Take these fields out of a dynamic map."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"delete @{self.map} {{ {self.field} : meta priority }}"


class Count(msgspec.Struct, frozen=True):
    """Count the packet for these fields in a dynamic set, which keeps them so long without one."""

    field: str
    set: str
    seconds: int

    def __str__(self) -> str:
        return f"update @{self.set} {{ {self.field} timeout {_span(self.seconds)} counter }}"


class Log(msgspec.Struct, frozen=True):
    """Hand some packets a second to whoever listens to a log group; the next rule follows."""

    prefix: str
    group: int
    per_second: int

    def __str__(self) -> str:
        limit = f"limit rate {self.per_second}/second burst {self.per_second} packets"
        return f'{limit} log prefix "{self.prefix}" group {self.group}'


def _span(seconds: int) -> str:
    """A time as nft prints it: 1d2h3m4s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


class Dnat(msgspec.Struct, frozen=True):
    """The destination that a map holds for these fields; without one the next rule follows."""

    protocol: Literal["ip", "ip6"]
    field: str
    map: str

    def __str__(self) -> str:
        return f"dnat {self.protocol} to {self.field} map @{self.map}"


class Reject(msgspec.Struct, frozen=True):
    """An answer that says no: a TCP reset, or ICMP's port unreachable."""

    how: Literal["tcp reset", "icmpx port-unreachable"]

    def __str__(self) -> str:
        return f"reject with {self.how}"


_Note = SetMark | Choose | Clear | Recall | Remember | Forget | Count | Log
Action = Verdict | _Note | Go | Dispatch | Dnat | Reject


class Rule(msgspec.Struct, frozen=True):
    matches: tuple[Match | Marked, ...]
    action: Action
    comment: str = ""

    def __str__(self) -> str:
        text = " ".join((*map(str, self.matches), str(self.action)))
        return f'{text} comment "{self.comment}"' if self.comment else text


class Hook(msgspec.Struct, frozen=True):
    """Where in the kernel a base chain hooks in, and at which priority."""

    type: Literal["filter", "nat"]
    point: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int


class Chain(msgspec.Struct, frozen=True):
    """A list of rules; one without a hook is reached from other chains and verdict maps."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The chains that its rules name."""
        return tuple(rule.action.chain for rule in self.rules if isinstance(rule.action, Go))


def no_templates(name: str) -> Chain | None:
    """For tables whose chains are all fixed."""
    del name
    return None


class Skeleton(msgspec.Struct, frozen=True):
    """All of a table that does not move.

    Elements of verdict maps may also name chains that `template` knows to make from the name
    alone; they exist in the kernel from when an element first needs them.
    """

    table: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    template: Callable[[str], Chain | None] = no_templates

    def chain(self, name: str) -> Chain | None:
        """A fixed chain or one from a template; None for a name that means nothing."""
        for chain in self.chains:
            if chain.name == name:
                return chain
        return self.template(name)


class ElementKey(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """There are many, looked up often: each hashes its addresses once (they are slow at it) and
    is no business of the garbage collector's, for it holds no containers but tuples of atoms.
    """

    table: ClassVar[str] = "elements"
    level: ClassVar[int] = 50
    set: str
    key: tuple[Atom, ...]

    def links(self, _: object) -> tuple[str, ...]:
        return ()

    def __str__(self) -> str:
        return f"@{self.set} {' . '.join(map(str, self.key))}"


class Element(msgspec.Struct, frozen=True, gc=False):
    """What a map holds under a key: values, or `drop` or a chain's name; nothing in a set."""

    data: tuple[Atom, ...] = ()

    def __str__(self) -> str:
        return f": {' . '.join(map(str, self.data))}" if self.data else ""

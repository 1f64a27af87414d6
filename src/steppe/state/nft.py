"""The types of an nftables table: a fixed skeleton of sets, maps, chains and rules, and elements.

The skeleton is one value, the same on every node, and is written once. Only elements change with
the cluster: only they are claimed, each with its cause.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar, Literal

import msgspec

from steppe.net.address import IPAddress, IPNetwork

Atom = IPAddress | IPNetwork | int | str
Verdict = Literal["accept", "drop", "return", "masquerade"]


class Set(msgspec.Struct, frozen=True):
    """A named set, or a map if its elements have `data` ("verdict" for a verdict map).

    An `interval` set or map has prefixes in the first field of its key; in a map no prefix may
    cover another one. Rules add the elements of a `dynamic` set or map in the kernel, and they
    expire; Steppe does not claim them.
    """

    name: str
    type: str
    interval: bool = False
    comment: str = ""
    data: str = ""
    dynamic: bool = False


class Match(msgspec.Struct, frozen=True):
    """One condition: fields in nft's syntax that must be in a set, or equal one literal."""

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
    """Set bits of the packet's mark; then go on with the next rule."""

    bits: int

    def __str__(self) -> str:
        return f"meta mark set meta mark | {self.bits:#010x}"


class Go(msgspec.Struct, frozen=True):
    """Go to another chain; after a `jump`, come back at its end."""

    how: Literal["goto", "jump"]
    chain: str

    def __str__(self) -> str:
        return f"{self.how} {self.chain}"


class Dispatch(msgspec.Struct, frozen=True):
    """The verdict that a map has for these fields; go on with the next rule if it has none."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"{self.field} vmap @{self.map}"


class Choose(msgspec.Struct, frozen=True):
    """Store a random number below `of` as the packet's priority; then go on with the next rule."""

    of: int

    def __str__(self) -> str:
        return f"meta priority set numgen random mod {self.of}"


class Clear(msgspec.Struct, frozen=True):
    """Clear the packet's priority; then go on with the next rule."""

    def __str__(self) -> str:
        return "meta priority set none"


class Recall(msgspec.Struct, frozen=True):
    """Store what a map has for these fields as the packet's priority; then the next rule."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"meta priority set {self.field} map @{self.map}"


class Remember(msgspec.Struct, frozen=True):
    """Add the packet's priority to a dynamic map for `seconds`; an element that exists keeps its
    value, and its time starts again.
    """

    field: str
    map: str
    seconds: int

    def __str__(self) -> str:
        held = f"{self.field} timeout {_span(self.seconds)} : meta priority"
        return f"update @{self.map} {{ {held} }}"


class Forget(msgspec.Struct, frozen=True):
    """Delete the element with these fields from a dynamic map."""

    field: str
    map: str

    def __str__(self) -> str:
        return f"delete @{self.map} {{ {self.field} : meta priority }}"


class Count(msgspec.Struct, frozen=True):
    """Count the packet in a dynamic set under these fields; the element expires `seconds` after its
    last packet.
    """

    field: str
    set: str
    seconds: int

    def __str__(self) -> str:
        return f"update @{self.set} {{ {self.field} timeout {_span(self.seconds)} counter }}"


class Log(msgspec.Struct, frozen=True):
    """Send up to `per_second` packets a second to the listener of a log group; then go on with the
    next rule.
    """

    prefix: str
    group: int
    per_second: int

    def __str__(self) -> str:
        limit = f"limit rate {self.per_second}/second burst {self.per_second} packets"
        return f'{limit} log prefix "{self.prefix}" group {self.group}'


def _span(seconds: int) -> str:
    """A duration as nft prints it: 1d2h3m4s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


class Dnat(msgspec.Struct, frozen=True):
    """Translate the destination to what a map has for these fields; go on with the next rule if it
    has nothing.
    """

    protocol: Literal["ip", "ip6"]
    field: str
    map: str

    def __str__(self) -> str:
        return f"dnat {self.protocol} to {self.field} map @{self.map}"


class Reject(msgspec.Struct, frozen=True):
    """Refuse the packet with a TCP reset or an ICMP port unreachable message."""

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
    """The hook of a base chain, and its priority there."""

    type: Literal["filter", "nat"]
    point: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int


class Chain(msgspec.Struct, frozen=True):
    """A list of rules; a chain without a hook is reached from other chains and verdict maps."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the chains that its rules go or jump to."""
        return tuple(rule.action.chain for rule in self.rules if isinstance(rule.action, Go))


def no_templates(name: str) -> Chain | None:
    """The template of a skeleton whose chains are all fixed."""
    del name
    return None


class Skeleton(msgspec.Struct, frozen=True, dict=True):
    """All of a table but its elements.

    Elements of verdict maps may also name chains that `template` makes from the name alone; such a
    chain is added to the kernel when an element first names it.
    """

    table: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    template: Callable[[str], Chain | None] = no_templates

    def chain(self, name: str) -> Chain | None:
        """A fixed chain or one made by `template`; None for a name that is neither."""
        return self._chains_by_name.get(name) or self.template(name)

    def base_chains(self, point: str) -> tuple[Chain, ...]:
        """The chains at a hook, in the order in which the kernel runs them."""
        return self._chains_by_hook.get(point, ())

    @cached_property
    def sets_by_name(self) -> Mapping[str, Set]:
        return {spec.name: spec for spec in self.sets}

    @cached_property
    def _chains_by_name(self) -> Mapping[str, Chain]:
        return {chain.name: chain for chain in self.chains}

    @cached_property
    def _chains_by_hook(self) -> Mapping[str, tuple[Chain, ...]]:
        hooked = [(chain.hook, chain) for chain in self.chains if chain.hook is not None]
        found: dict[str, tuple[Chain, ...]] = {}
        for hook, chain in sorted(hooked, key=lambda each: each[0].priority):
            found[hook.point] = (*found.get(hook.point, ()), chain)
        return found


class ElementKey(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """A set's name and the fields of an element.

    There are many, and they are looked up often. So each caches its hash (hashing addresses is
    slow) and is not tracked by the garbage collector: its only container is a tuple of atoms.
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
    """What a map has under a key: values, or `drop` or a chain's name; () in a set."""

    data: tuple[Atom, ...] = ()

    def __str__(self) -> str:
        return f": {' . '.join(map(str, self.data))}" if self.data else ""

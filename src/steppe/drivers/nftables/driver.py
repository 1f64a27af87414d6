"""Nft: keeps one table as its skeleton says, and moves the elements of its sets.

No other table is ever listed, changed or flushed. Changes are one transaction; if it fails it is
halved until the bad element is found, so that one never keeps another out.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Self, TypeGuard

from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.nftables.intervals import Cover
from steppe.drivers.nftables.library import Library, NftError
from steppe.drivers.nftables.parse import parse_elements, parse_sets, parse_table
from steppe.drivers.nftables.render import elements_text, identifier, skeleton_text
from steppe.net.address import IPNetwork
from steppe.plan.diff import Change
from steppe.state.nft import Atom, Element, ElementKey, Set, Skeleton
from steppe.state.node import Key, Value

_ABSENT = "No such file or directory"
_BULK = 5000
"""Elements a command, so that nft's parser need not hold all of a large set at once."""


class Nft:
    """One table, in the network namespace of the thread that makes this object."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._sets = {spec.name: spec for spec in skeleton.sets}
        self._covers = {spec.name: Cover() for spec in skeleton.sets if spec.interval}
        self._library = Library()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._library.close()

    def ensure(self) -> bool:
        """Make the table what the skeleton says, keeping its elements; True if it was not.

        It is replaced in one transaction: no packet meets a table that is half made.
        """
        listing = self._listing()
        actual = parse_table(self._skeleton.table, listing) if listing else None
        if actual is not None and _same(actual, self._skeleton):
            return False
        text = skeleton_text(self._skeleton)
        there = {spec.name: _form(spec) for spec in parse_sets(listing)} if listing else {}
        for spec in self._skeleton.sets:
            keys = self._elements(spec) if there.get(spec.name) == _form(spec) else []
            if keys:
                text += elements_text("add", self._skeleton.table, spec.name, keys)
        try:
            self._library.run(text)
        except NftError as error:
            what = f"make table inet {self._skeleton.table}"
            raise KernelError(what, detail=str(error)) from error
        return True

    def read(self) -> dict[Key, Value]:
        """The elements of all sets; none if the table is not there."""
        state: dict[Key, Value] = {}
        for spec in self._sets.values():
            keys = self._elements(spec)
            if spec.interval:
                keys = self._with_covered(spec.name, keys)
            for key in keys:
                state[ElementKey(spec.name, key)] = Element()
        return state

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes; each one that was not made, with its reason."""
        if not changes:
            return ()
        before = {name: cover.copy() for name, cover in self._covers.items()}
        try:
            text = self._text(changes)
            if text:
                self._library.run(text)
        except NftError as error:
            self._covers = before
            if len(changes) > 1:
                half = len(changes) // 2
                return self.apply(changes[:half]) + self.apply(changes[half:])
            return self._single(changes[0], error)
        return ()

    def _single(self, change: Change, error: NftError) -> tuple[Failure, ...]:
        """One change that nft refused: what the kernel holds may be what was wanted anyhow."""
        key = change.key
        if isinstance(key, ElementKey) and key.set in self._sets:
            there = key in self.read()
            if there == (change.new is not None):
                return ()
        return (Failure(change, KernelError(str(change), detail=str(error))),)

    def _listing(self) -> bytes:
        """All of our table but its elements; nothing if it is not there."""
        table = identifier(self._skeleton.table)
        try:
            return self._library.list(f"table inet {table}", terse=True)
        except NftError as error:
            if _ABSENT in str(error):
                return b""
            raise KernelError(f"list table inet {table}", detail=str(error)) from error

    def _elements(self, spec: Set) -> list[tuple[Atom, ...]]:
        table = identifier(self._skeleton.table)
        try:
            data = self._library.list(f"set inet {table} {identifier(spec.name)}")
        except NftError as error:
            if _ABSENT in str(error):
                return []
            raise KernelError(f"list set {spec.name}", detail=str(error)) from error
        return parse_elements(spec, data)

    def _with_covered(self, name: str, keys: list[tuple[Atom, ...]]) -> list[tuple[Atom, ...]]:
        """The kernel's prefixes and, of those we know besides, the ones they cover."""
        tops = Cover(prefix for (prefix,) in keys if _is_prefix(prefix))
        known = [prefix for prefix in self._covers[name] if prefix not in tops]
        actual = tops.copy()
        for prefix in known:
            taken, _ = actual.add(prefix)
            if taken:  # nothing covers it: someone has taken it out of the kernel
                actual.remove(prefix)
        self._covers[name] = actual
        return [(prefix,) for prefix in actual]

    def _text(self, changes: Sequence[Change]) -> str:
        """The transaction; per set, what goes, goes first: an interval may have to make room."""
        added: dict[str, dict[tuple[Atom, ...], None]] = {}
        deleted: dict[str, dict[tuple[Atom, ...], None]] = {}
        for change in changes:
            name, puts, drops = self._moves(change)
            for key in drops:
                # What this very transaction was about to add never reaches the kernel.
                if key in added.get(name, ()):
                    del added[name][key]
                else:
                    deleted.setdefault(name, {})[key] = None
            for key in puts:
                if key in deleted.get(name, ()):
                    del deleted[name][key]
                else:
                    added.setdefault(name, {})[key] = None
        return "".join(
            elements_text(verb, self._skeleton.table, name, tuple(keys)[start : start + _BULK])
            for verb, moves in (("delete", deleted), ("add", added))
            for name, keys in moves.items()
            for start in range(0, len(keys), _BULK)
        )

    def _moves(
        self, change: Change
    ) -> tuple[str, Sequence[tuple[Atom, ...]], Sequence[tuple[Atom, ...]]]:
        """The set, and what it must take in and let go for this change."""
        key = change.key
        if not isinstance(key, ElementKey) or key.set not in self._sets:
            raise NftError(f"there is no set for {key}")
        cover = self._covers.get(key.set)
        if cover is None:
            return (key.set, [], [key.key]) if change.new is None else (key.set, [key.key], [])
        (prefix,) = key.key
        if not _is_prefix(prefix):
            raise NftError(f"{prefix} is no prefix")
        puts, drops = cover.remove(prefix) if change.new is None else cover.add(prefix)
        return key.set, [(p,) for p in puts], [(p,) for p in drops]


def _is_prefix(value: Atom) -> TypeGuard[IPNetwork]:
    return isinstance(value, IPv4Network | IPv6Network)


def _form(spec: Set) -> tuple[str, bool]:
    return spec.type, spec.interval


def _same(actual: Skeleton, wanted: Skeleton) -> bool:
    """Equal but for the order of sets and chains, which means nothing to the kernel."""
    return (
        sorted(actual.sets, key=lambda spec: spec.name),
        sorted(actual.chains, key=lambda chain: chain.name),
    ) == (
        sorted(wanted.sets, key=lambda spec: spec.name),
        sorted(wanted.chains, key=lambda chain: chain.name),
    )

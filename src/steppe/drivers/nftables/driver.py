"""Nft: keeps one table equal to its skeleton, and adds and deletes the elements of its sets and
maps.

No other table is listed, changed or flushed. A table that is gone is made again asleep (nft's flag
`dormant`: its chains are at no hook), filled, and then woken: no packet meets a part of it. Changes
are one transaction, or several if no packet can be affected by that (chunking.py). A transaction
that fails is halved until the wrong element is found, so that it keeps no other element out.
Elements are written by nfnetlink, and everything is read by nfnetlink; libnftables only makes the
table and its chains. Chains from templates are made just before the first element that leads to
them, and stay.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from steppe.drivers.driver import NOTHING, Fault
from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.nftables.batch import Batch, chains_for, commands, with_targets
from steppe.drivers.nftables.chunking import AT_ONCE, chunks
from steppe.drivers.nftables.dump import Dump, Form
from steppe.drivers.nftables.elements import Elements
from steppe.drivers.nftables.expected import Expected, faults, missing
from steppe.drivers.nftables.intervals import Cover
from steppe.drivers.nftables.library import Library, NftError
from steppe.drivers.nftables.render import chain_text, skeleton_text, waking_text
from steppe.drivers.nftables.watch import RulesetWatch
from steppe.drivers.nftables.wire import Row, packed_elements
from steppe.net.address import IPNetwork
from steppe.plan.diff import Change
from steppe.state.nft import Atom, Chain, Element, ElementKey, Set, Skeleton
from steppe.state.node import Key, Value

_CHAINS_AT_ONCE = 32
"""libnftables takes half a megabyte for a chain of 59 rules while it makes it."""


class Nft:
    """One table, in the network namespace of the thread that makes this object.

    Invariant: an element is added only after the chain that it leads to has been made; a change
    that fails keeps no other change out.
    """

    tables = frozenset((ElementKey.table,))

    def __init__(self, skeleton: Skeleton, expected: Expected | None = None) -> None:
        self._skeleton = skeleton
        self._sets = {spec.name: spec for spec in skeleton.sets}
        self._covers: dict[tuple[str, tuple[Atom, ...]], Cover] = {}
        self._made: set[str] = set()  # the chains from templates that the kernel has
        self._library = Library()
        self._elements = Elements(skeleton.table, self._sets)
        self._dump = Dump(skeleton.table)
        self._expected = expected or Expected(skeleton)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._library.close()
        self._elements.close()
        self._dump.close()

    def watch(self) -> RulesetWatch:
        """Changes of the table by other programs, from now on."""
        return RulesetWatch(self._skeleton.table, self._elements.port)

    def check(self) -> tuple[Fault, ...]:
        """How the table differs from the skeleton; elements are not compared."""
        actual, wanted, _ = self._forms()
        return faults(self._skeleton.table, actual, wanted)

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        """Make the table equal to the skeleton, keeping its elements; returns the repaired faults.

        It is replaced in one transaction: no packet meets an incomplete table. One that is gone
        comes back with the elements of `desired`.
        """
        if desired and not self._dump.is_there():
            self._make_whole(desired)
            return (missing(self._skeleton.table),)
        actual, wanted, made = self._forms()
        found = faults(self._skeleton.table, actual, wanted)
        if not found:
            self._made = made
            return ()
        self._replace_table(actual, wanted)
        return found

    def _forms(self) -> tuple[Form | None, Form, set[str]]:
        """The table's form in the kernel, the desired form, and its chains from templates."""
        actual = self._dump.form()
        wanted, made = self._expected.beside(actual)
        return actual, wanted, made

    def _make_whole(self, desired: Mapping[Key, Value]) -> None:
        """Make the table asleep, fill it, and wake it."""
        elements = [(key, v) for key, v in desired.items() if isinstance(key, ElementKey)]
        table, chains = self._skeleton.table, self._led_to(elements)
        text = skeleton_text(self._skeleton, dormant=True)
        text += "".join(chain_text(table, chain, dormant=True) for chain in chains)
        try:
            self._library.run(text)
            self._elements.fill(chains)
            self._made, self._covers = _names(chains), {}
            for start in range(0, len(elements), AT_ONCE):
                self._fill(elements[start : start + AT_ONCE])
            self._library.run(waking_text(self._skeleton))
        except NftError as error:
            raise KernelError(f"make table inet {table}", detail=str(error)) from error

    def _fill(self, elements: Sequence[tuple[ElementKey, Value]]) -> None:
        """Add these to a table without elements.

        What is refused is missing afterwards, as the next comparison finds.
        """
        batch = Batch(self._skeleton, self._sets, self._covers)
        additions = [Change(key, None, value) for key, value in elements]
        try:
            for change in additions:
                batch.take(change)
            self._elements.move({}, batch.added)
        except NftError as error:
            batch.undo()
            self._isolate(additions, error)

    def _led_to(self, elements: Iterable[tuple[ElementKey, Value]]) -> list[Chain]:
        """The chains from templates that verdicts among these elements lead to."""
        verdicts = {name for name, spec in self._sets.items() if spec.data == "verdict"}
        led = {
            str(value.data[0])
            for key, value in elements
            if key.set in verdicts and isinstance(value, Element)
        }
        known = (name for name in led if self._skeleton.chain(name) is not None)
        return with_targets(self._skeleton, known, ())

    def _replace_table(self, actual: Form | None, wanted: Form) -> None:
        kept = self._kept(actual, wanted) if actual is not None else {}
        chains = chains_for(self._skeleton, kept, ())
        text = skeleton_text(self._skeleton)
        text += "".join(chain_text(self._skeleton.table, chain) for chain in chains)
        for name, rows in kept.items():
            text += "".join(commands("add", self._skeleton.table, self._sets[name], rows))
        try:
            self._library.run(text)
            self._elements.fill(chains)
        except NftError as error:
            what = f"make table inet {self._skeleton.table}"
            raise KernelError(what, detail=str(error)) from error
        self._made = _names(chains)

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """The elements of all sets; () if there is no table. `wanted` is not used."""
        del wanted
        if tables is not None and ElementKey.table not in tables:
            return {}
        state: dict[Key, Value] = {}
        for spec in self._sets.values():
            state.update((ElementKey(spec.name, key), value) for key, value in self._rows(spec))
        return state

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes; each one that was not made, with its reason."""
        failures: tuple[Failure, ...] = ()
        for chunk in chunks(self._sets, changes):
            failures += self._apply_chunk(chunk)
        return failures

    def _apply_chunk(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        error = self._refusal(changes)
        if error is None:
            return ()
        if self._dump.form() is None:
            return tuple(_failure(change, error) for change in changes)
        return self._isolate(changes, error)

    def _isolate(self, changes: Sequence[Change], error: NftError) -> tuple[Failure, ...]:
        """Make as many as possible of the changes that were refused together."""
        if len(changes) == 1:
            return self._settle(changes[0], error)
        half = len(changes) // 2
        failures: tuple[Failure, ...] = ()
        for part in (changes[:half], changes[half:]):
            refusal = self._refusal(part)
            if refusal is not None:
                failures += self._isolate(part, refusal)
        return failures

    def _refusal(self, changes: Sequence[Change]) -> NftError | None:
        """Make the changes as one transaction; returns the error, or None."""
        try:
            self._transact(changes)
        except NftError as error:
            return error
        return None

    def _transact(self, changes: Sequence[Change]) -> None:
        batch = Batch(self._skeleton, self._sets, self._covers)
        try:
            for change in changes:
                batch.take(change)
            self._make(batch.chains(self._made))
            self._elements.move(batch.deleted, batch.added)
        except NftError:
            batch.undo()
            raise

    def _make(self, chains: Sequence[Chain]) -> None:
        """Make chains in transactions of their own: they have no effect until an element names
        them.
        """
        for start in range(0, len(chains), _CHAINS_AT_ONCE):
            some = chains[start : start + _CHAINS_AT_ONCE]
            self._library.run("".join(chain_text(self._skeleton.table, c) for c in some))
            self._elements.fill(some)
            self._made |= _names(some)

    def _settle(self, change: Change, error: NftError) -> tuple[Failure, ...]:
        """One change that was refused alone: the kernel may have another value than we expect."""
        key = change.key
        if not isinstance(key, ElementKey) or key.set not in self._sets:
            return (_failure(change, error),)
        try:
            if self._is_there(key):
                # The kernel refuses to replace an element of a map, so it is deleted first.
                self._transact([Change(key, Element(), change.new)])
            elif change.new is not None:
                self._transact([Change(key, None, change.new)])
        except NftError as again:
            return (_failure(change, again),)
        return ()

    def _is_there(self, key: ElementKey) -> bool:
        """Whether the kernel has an element with this key."""
        spec = self._sets[key.set]
        if spec.interval:
            return any(there == key.key for there, _ in self._rows(spec))
        (packed,) = packed_elements(spec, [(key.key, None)])
        return self._dump.has(spec, packed)

    def _kept(self, actual: Form, wanted: Form) -> dict[str, list[Row]]:
        """The elements of all sets whose form is the desired one."""
        found: dict[str, list[Row]] = {}
        for spec in self._skeleton.sets:
            there = actual.sets.get(spec.name)
            if there is None or there.elements != wanted.sets[spec.name].elements:
                continue
            listed = self._dump.elements(spec)
            rows = [row for row in listed if self._leads_somewhere(spec, row[1])]
            if rows:
                found[spec.name] = rows
        return found

    def _leads_somewhere(self, spec: Set, value: Element) -> bool:
        """False for a verdict with a chain that this version does not know."""
        if spec.data != "verdict" or value.data == ("drop",):
            return True
        return self._skeleton.chain(str(value.data[0])) is not None

    def _rows(self, spec: Set) -> list[Row]:
        """The kernel's elements, and the claimed prefixes that intervals among them cover."""
        rows = self._dump.elements(spec)
        if not spec.interval or spec.data:
            return rows
        return [(key, Element()) for key in self._with_covered(spec.name, rows)]

    def _with_covered(self, name: str, rows: Sequence[Row]) -> Iterator[tuple[Atom, ...]]:
        tops: dict[tuple[Atom, ...], list[IPNetwork]] = {}
        for key, _ in rows:
            if isinstance(key[0], IPv4Network | IPv6Network):
                tops.setdefault(key[1:], []).append(key[0])
        before = {rest: cover for (of, rest), cover in self._covers.items() if of == name}
        for rest in before.keys() | tops.keys():
            actual = _with_known(tops.get(rest, []), before.get(rest, Cover()))
            self._covers[name, rest] = actual
            yield from ((prefix, *rest) for prefix in actual)


def _with_known(tops: Sequence[IPNetwork], known: Cover) -> Cover:
    """The kernel's prefixes, and the known prefixes that they cover."""
    actual = Cover(tops)
    for prefix in known:
        if prefix in actual:
            continue
        taken, _ = actual.add(prefix)
        if taken:  # nothing covers it: another program has deleted it from the kernel
            actual.remove(prefix)
    return actual


def _failure(change: Change, error: NftError) -> Failure:
    return Failure(change, KernelError(str(change), detail=str(error)))


def _names(chains: Sequence[Chain]) -> set[str]:
    return {chain.name for chain in chains}

"""Claims by owner, settled into entries; their number and their Problems are kept as they settle.

    owner ──▶ its block of claims ──▶ claims by key ──▶ entries

There may be hundreds of thousands of claims, nearly all of them alone at their key. So a key holds
its one claim and nothing else, and its entry is made when somebody asks for it.
"""

from collections import Counter
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar, overload

import msgspec

from steppe.compile.owners import Owner
from steppe.kube.cause import Cause, Problem
from steppe.state.claim import Claim, Entry, settle_key
from steppe.state.nft import ElementKey
from steppe.state.node import TABLES, Key, NodeClaim, NodeEntry, Value

T = TypeVar("T")


class _Several(msgspec.Struct, frozen=True, gc=False):
    """All claims to one key, at least two, and the entry that they settle into."""

    claims: tuple[NodeClaim, ...]
    entry: NodeEntry


_Held = NodeClaim | _Several
_Own = NodeClaim | tuple[NodeClaim, ...]
"""One owner's claims to one key."""
_Parts = dict[str, dict[Key, _Held]]


class Entries(Mapping[Key, NodeEntry]):
    """The entries of all tables; iterating survives changes meanwhile, also in other threads.

    Invariant: a key stands in the part of its table, or of its nft set.
    """

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts

    def __getitem__(self, key: Key) -> NodeEntry:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    @overload
    def get(self, key: Key, /) -> NodeEntry | None: ...
    @overload
    def get(self, key: Key, /, default: NodeEntry | T) -> NodeEntry | T: ...
    def get(self, key: Key, /, default: object = None) -> object:
        part = self._parts.get(key.set if isinstance(key, ElementKey) else key.table)
        held = part.get(key) if part is not None else None
        if held is None:
            return default
        if isinstance(held, _Several):
            return held.entry
        return Entry(held.value, (held.cause,))

    def because(self, key: Key) -> tuple[Cause, ...]:
        """Every cause for an entry; none where there is no entry."""
        held = self._parts.get(_part_of(key), {}).get(key)
        if held is None:
            return ()
        return held.entry.because if isinstance(held, _Several) else (held.cause,)

    def __contains__(self, key: object) -> bool:
        return key in self._parts.get(_part_of(key), ())

    def __len__(self) -> int:
        return sum(map(len, tuple(self._parts.values())))

    def __iter__(self) -> Iterator[Key]:
        for part in tuple(self._parts.values()):
            yield from tuple(part)

    def items(self) -> ItemsView[Key, NodeEntry]:
        return _Items(self)

    def held(self) -> Iterator[tuple[Key, _Held]]:
        """Every key with its claims, as they were when its part was come to."""
        for part in tuple(self._parts.values()):
            yield from tuple(part.items())

    def only(self, wanted: Callable[[str], bool]) -> "Entries":
        """A copy, as of now, of the tables and nft sets of the wanted names."""
        return Entries({name: dict(part) for name, part in self._parts.items() if wanted(name)})

    def share(self, seen: Mapping[Key, Value]) -> dict[Key, Value]:
        """The same mapping, of the very keys and values of the entries where those are equal."""
        found: dict[Key, Value] = {}
        for key, value in seen.items():
            held = self._parts.get(_part_of(key), {}).get(key)
            if isinstance(held, Claim) and held.value == value:
                found[held.key] = held.value
            else:
                found[key] = value
        return found

    def table(self, name: str) -> tuple[Key, ...]:
        """The keys of one table."""
        if name != ElementKey.table:
            return tuple(self._parts.get(name, ()))
        others = set(TABLES)
        parts = (part for of, part in self._parts.items() if of not in others)
        return tuple(chain.from_iterable(map(tuple, tuple(parts))))

    def counts(self) -> dict[str, int]:
        """How many entries each table has."""
        sizes = {name: len(part) for name, part in self._parts.items()}
        found = {table: sizes.pop(table, 0) for table in TABLES}
        found[ElementKey.table] += sum(sizes.values())
        return found


class _Items(ItemsView[Key, NodeEntry]):
    _mapping: Entries

    def __iter__(self) -> Iterator[tuple[Key, NodeEntry]]:
        return ((key, _entry(held)) for key, held in self._mapping.held())


class Tables:
    """Entries settled from blocks of claims, one block an owner."""

    def __init__(self) -> None:
        self._blocks: dict[Owner, tuple[NodeClaim, ...]] = {}
        self._parts: _Parts = {}
        self._problems_of: dict[Owner | Key, tuple[Problem, ...]] = {}
        self._problems: Counter[Problem] = Counter()
        self._sorted: tuple[Problem, ...] | None = ()
        self.state = Entries(self._parts)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of the blocks and those that settling has found, in order."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._problems))
        return self._sorted

    def keys(self, owner: Owner) -> Collection[Key]:
        """What the owner's block claims."""
        return dict.fromkeys(claim.key for claim in self._blocks.get(owner, ())).keys()

    def is_undisputed(self, owner: Owner) -> bool:
        """Whether the owner has no Problem, and what it claims nobody else does."""
        claims = self._blocks.get(owner, ())
        return owner not in self._problems_of and all(
            self._parts[_part_of(claim.key)][claim.key] is claim for claim in claims
        )

    def replace(self, owner: Owner, block: Iterable[NodeClaim | Problem]) -> frozenset[Key]:
        """Take this block for the owner's; answers the keys whose entries may have changed."""
        claims: list[NodeClaim] = []
        problems: list[Problem] = []
        for item in block:
            if isinstance(item, Problem):
                problems.append(item)
            else:
                claims.append(item)
        self._note(owner, tuple(problems))
        before, now = _by_key(self._blocks.get(owner, ())), _by_key(claims)
        touched: list[Key] = []
        for key, own in now.items():
            known = before.pop(key, None)
            if known is None or known != own:
                self._settle(key, known, own)
                touched.append(key)
            else:
                now[key] = known
        for key, known in before.items():
            self._settle(key, known, None)
        if now:
            self._blocks[owner] = _flat(now)
        else:
            self._blocks.pop(owner, None)
        return frozenset((*touched, *before))

    def _settle(self, key: Key, before: _Own | None, now: _Own | None) -> None:
        """Of one owner's claims to a key these are the ones before and now."""
        part = self._parts.setdefault(_part_of(key), {})
        held = part.get(key)
        if (held is None or held is before) and isinstance(now, Claim):
            part[key] = now
            return
        others = _without(_claims(held), _own_claims(before))
        claims = (*others, *_own_claims(now))
        problems: tuple[Problem, ...] = ()
        if len(claims) > 1:
            entry, problems = settle_key(claims)
            part[key] = _Several(claims, entry)
        elif claims:
            part[key] = claims[0]
        else:
            del part[key]
        self._note(key, problems)

    def _note(self, whose: Owner | Key, problems: tuple[Problem, ...]) -> None:
        before = self._problems_of.pop(whose, ())
        if problems:
            self._problems_of[whose] = problems
        if before == problems:
            return
        self._sorted = None
        self._problems.update(problems)
        self._problems.subtract(before)
        for problem in before:
            if not self._problems[problem]:
                del self._problems[problem]


def _part_of(key: object) -> str:
    return key.set if isinstance(key, ElementKey) else getattr(key, "table", "")


def _entry(held: _Held) -> NodeEntry:
    if isinstance(held, _Several):
        return held.entry
    return settle_key((held,))[0]


def _claims(held: _Held | None) -> tuple[NodeClaim, ...]:
    if held is None:
        return ()
    return held.claims if isinstance(held, _Several) else (held,)


def _own_claims(own: _Own | None) -> tuple[NodeClaim, ...]:
    if own is None:
        return ()
    return own if isinstance(own, tuple) else (own,)


def _by_key(claims: Iterable[NodeClaim]) -> dict[Key, _Own]:
    """One owner's claims, each once: a pod under 1,000 policies is guarded because of each."""
    found: dict[Key, _Own] = {}
    several: dict[Key, dict[NodeClaim, None]] = {}
    for claim in claims:
        first = found.setdefault(claim.key, claim)
        if first is not claim and isinstance(first, Claim):
            several.setdefault(claim.key, {first: None})[claim] = None
    for key, same in several.items():
        if len(same) > 1:
            found[key] = tuple(same)
    return found


def _flat(found: Mapping[Key, _Own]) -> tuple[NodeClaim, ...]:
    flat: list[NodeClaim] = []
    for own in found.values():
        if isinstance(own, tuple):
            flat += own
        else:
            flat.append(own)
    return tuple(flat)


def _without(claims: tuple[NodeClaim, ...], gone: tuple[NodeClaim, ...]) -> Iterable[NodeClaim]:
    """These claims but those; once each, for another owner may claim the very same."""
    if claims == gone:
        return ()
    kept = list(claims)
    for claim in gone:
        kept.remove(claim)
    return kept

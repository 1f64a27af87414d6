"""Claims by owner, settled into entries; the counts of entries and the Problems are kept with them.

    owner ──▶ its claim set ──▶ claims by key ──▶ entries

There may be hundreds of thousands of claims, and nearly always there is one claim to a key. So only
that claim is stored under the key, and its entry is made when it is asked for.
"""

from collections import Counter
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
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


_Stored = NodeClaim | _Several
_Own = NodeClaim | tuple[NodeClaim, ...]
"""One owner's claims to one key."""
_Parts = dict[str, dict[Key, _Stored]]


class Entries(Mapping[Key, NodeEntry]):
    """The entries of all tables; iterating goes on safely while entries change, also in other
    threads.

    Invariant: a key is stored in the part with the name of its table or, for an element, of its
    nft set.
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
        stored = part.get(key) if part is not None else None
        if stored is None:
            return default
        if isinstance(stored, _Several):
            return stored.entry
        return Entry(stored.value, (stored.cause,))

    def value(self, key: Key) -> Value | None:
        """The value of an entry, without its causes; None if there is no entry."""
        part = self._parts.get(key.set if isinstance(key, ElementKey) else key.table)
        stored = part.get(key) if part is not None else None
        if stored is None:
            return None
        return stored.entry.value if isinstance(stored, _Several) else stored.value

    def because(self, key: Key) -> tuple[Cause, ...]:
        """Every cause for an entry; () if there is no entry."""
        stored = self._parts.get(_part_of(key), {}).get(key)
        if stored is None:
            return ()
        return stored.entry.because if isinstance(stored, _Several) else (stored.cause,)

    def __contains__(self, key: object) -> bool:
        return key in self._parts.get(_part_of(key), ())

    def __len__(self) -> int:
        return sum(map(len, tuple(self._parts.values())))

    def __iter__(self) -> Iterator[Key]:
        for part in tuple(self._parts.values()):
            yield from tuple(part)

    def items(self) -> ItemsView[Key, NodeEntry]:
        return _Items(self)

    def stored(self) -> Iterator[tuple[Key, _Stored]]:
        """Every key with what is stored for it; a part is copied when the iteration reaches it."""
        for part in tuple(self._parts.values()):
            yield from tuple(part.items())

    def values_but(self, left_out: AbstractSet[Key]) -> dict[Key, Value]:
        """The values of all entries but those under these keys."""
        found = {
            key: stored.entry.value if isinstance(stored, _Several) else stored.value
            for key, stored in self.stored()
        }
        return {k: v for k, v in found.items() if k not in left_out} if left_out else found

    def only(self, wanted: Callable[[str], bool]) -> "Entries":
        """A copy of the tables and nft sets whose names are wanted, as they are now."""
        return Entries({name: dict(part) for name, part in self._parts.items() if wanted(name)})

    def share(self, seen: Mapping[Key, Value]) -> dict[Key, Value]:
        """An equal mapping that reuses the keys and values of equal entries, to save memory."""
        found: dict[Key, Value] = {}
        for key, value in seen.items():
            stored = self._parts.get(_part_of(key), {}).get(key)
            if isinstance(stored, Claim) and stored.value == value:
                found[stored.key] = stored.value
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
        """The number of entries of each table, by table name."""
        sizes = {name: len(part) for name, part in self._parts.items()}
        found = {table: sizes.pop(table, 0) for table in TABLES}
        found[ElementKey.table] += sum(sizes.values())
        return found


class _Items(ItemsView[Key, NodeEntry]):
    _mapping: Entries

    def __iter__(self) -> Iterator[tuple[Key, NodeEntry]]:
        return ((key, _entry(stored)) for key, stored in self._mapping.stored())


class Tables:
    """Entries settled from claim sets, one claim set for each owner.

    Invariant: each key has all claims that the claim sets have to it, and `problems` are those of
    the claim sets and of conflicts among their claims, whatever the order of `replace` calls.
    """

    def __init__(self) -> None:
        self._claim_sets: dict[Owner, tuple[NodeClaim, ...]] = {}
        self._parts: _Parts = {}
        self._problems_of: dict[Owner | Key, tuple[Problem, ...]] = {}
        self._problems: Counter[Problem] = Counter()
        self._sorted: tuple[Problem, ...] | None = ()
        self.state = Entries(self._parts)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The Problems of the claim sets and those that settling has found, sorted."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self._problems))
        return self._sorted

    def keys(self, owner: Owner) -> Collection[Key]:
        """The keys that the owner claims."""
        return dict.fromkeys(claim.key for claim in self._claim_sets.get(owner, ())).keys()

    def is_undisputed(self, owner: Owner) -> bool:
        """Whether the owner has no Problem, and no other owner claims one of its keys."""
        claims = self._claim_sets.get(owner, ())
        return owner not in self._problems_of and all(
            self._parts[_part_of(claim.key)][claim.key] is claim for claim in claims
        )

    def replace(self, owner: Owner, claim_set: Iterable[NodeClaim | Problem]) -> frozenset[Key]:
        """Set the owner's claim set; returns the keys whose entries may have changed."""
        claims: list[NodeClaim] = []
        problems: list[Problem] = []
        for item in claim_set:
            if isinstance(item, Problem):
                problems.append(item)
            else:
                claims.append(item)
        self._note(owner, tuple(problems))
        was = self._claim_sets.get(owner)
        before, now = _by_key(was) if was else {}, _by_key(claims)
        touched: list[Key] = []
        for key, own in now.items():
            known = before.pop(key, None) if before else None
            if known is None or known != own:
                self._settle(key, known, own)
                touched.append(key)
            else:
                now[key] = known
        for key, known in before.items():
            self._settle(key, known, None)
        self._set_claims(owner, now, len(claims))
        return frozenset((*touched, *before)) if before else frozenset(touched)

    def _set_claims(self, owner: Owner, now: Mapping[Key, _Own], count: int) -> None:
        """`count`: how many claims these are."""
        if now:
            self._claim_sets[owner] = _flat(now, count)
        else:
            self._claim_sets.pop(owner, None)

    def replacing(
        self, owner: Owner, claim_set: Iterable[NodeClaim | Problem], most: int
    ) -> Iterator[frozenset[Key]]:
        """`replace` in steps of so many claims; each answers the keys that it has touched.

        It has to be gone through to its end, and nothing else may replace the owner's meanwhile.
        """
        given, problems = iter(claim_set), list[Problem]()
        before, now = _by_key(self._claim_sets.get(owner, ())), dict[Key, _Own]()
        while some := tuple(islice(given, most)):
            problems += (item for item in some if isinstance(item, Problem))
            claims = [item for item in some if not isinstance(item, Problem)]
            yield self._replace_some(_by_key(claims), before, now)
        while gone := tuple(islice(before, most)):
            for key in gone:
                self._settle(key, before.pop(key), None)
            yield frozenset(gone)
        self._set_claims(owner, now, 0)
        self._note(owner, tuple(problems))

    def _replace_some(
        self, come: Mapping[Key, _Own], before: dict[Key, _Own], now: dict[Key, _Own]
    ) -> frozenset[Key]:
        """Move keys from `before` to `now`, with the claims that come."""
        touched: list[Key] = []
        for key, own in come.items():
            known = now.get(key)
            wanted = own if known is None else (*_own_claims(known), *_own_claims(own))
            known = before.pop(key, None) if known is None else known
            if known is None or known != wanted:
                self._settle(key, known, wanted)
                touched.append(key)
                now[key] = wanted
            else:
                now[key] = known
        return frozenset(touched)

    def size(self, owner: Owner) -> int:
        """How many claims the owner has."""
        return len(self._claim_sets.get(owner, ()))

    def _settle(self, key: Key, before: _Own | None, now: _Own | None) -> None:
        """Settle one key; `before` and `now` are one owner's old and new claims to it."""
        part = self._parts.setdefault(_part_of(key), {})
        stored = part.get(key)
        if (stored is None or stored is before) and isinstance(now, Claim):
            part[key] = now
            return
        others = _without(_claims(stored), _own_claims(before))
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


def _entry(stored: _Stored) -> NodeEntry:
    if isinstance(stored, _Several):
        return stored.entry
    return settle_key((stored,))[0]


def _claims(stored: _Stored | None) -> tuple[NodeClaim, ...]:
    if stored is None:
        return ()
    return stored.claims if isinstance(stored, _Several) else (stored,)


def _own_claims(own: _Own | None) -> tuple[NodeClaim, ...]:
    if own is None:
        return ()
    return own if isinstance(own, tuple) else (own,)


def _by_key(claims: Sequence[NodeClaim]) -> dict[Key, _Own]:
    """One owner's claims by key, equal ones once; one owner may claim a key for several causes (a
    pod that 1,000 policies guard has one claim for each of them).
    """
    found: dict[Key, _Own] = {claim.key: claim for claim in claims}
    if len(found) == len(claims):  # as of nearly all
        return found
    found = {}
    several: dict[Key, dict[NodeClaim, None]] = {}
    for claim in claims:
        first = found.setdefault(claim.key, claim)
        if first is not claim and isinstance(first, Claim):
            several.setdefault(claim.key, {first: None})[claim] = None
    for key, same in several.items():
        if len(same) > 1:
            found[key] = tuple(same)
    return found


def _flat(found: Mapping[Key, _Own], count: int) -> tuple[NodeClaim, ...]:
    """All claims; `count` is how many there are, 0 if that is not known."""
    if len(found) == count:  # as of nearly all
        return tuple(own for own in found.values() if isinstance(own, Claim))
    flat: list[NodeClaim] = []
    for own in found.values():
        if isinstance(own, tuple):
            flat += own
        else:
            flat.append(own)
    return tuple(flat)


def _without(claims: tuple[NodeClaim, ...], gone: tuple[NodeClaim, ...]) -> Iterable[NodeClaim]:
    """`claims` without `gone`; one is removed for each: another owner may have an equal claim."""
    if claims == gone:
        return ()
    kept = list(claims)
    for claim in gone:
        kept.remove(claim)
    return kept

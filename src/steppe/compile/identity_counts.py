"""The identities that peers have now, by number and by trait."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from steppe.compile.slices import Slices
from steppe.kube.cause import Problem
from steppe.kube.policies import Direction
from steppe.policy.identities import NOBODY, Identity, Trait
from steppe.policy.numbers import NO_NUMBER, Numbering

K = TypeVar("K")
Changed = list[tuple[int, Identity]]
"""Identities that have appeared or vanished, each with its number."""


class IdentityCounts:
    """Counts the peers of each identity; `replace` returns what has changed by it.

    Invariant: an identity has a number, and is listed under the number and under its traits,
    exactly while at least one peer has it. NOBODY always has its number and is never listed.
    """

    def __init__(self, number: Numbering) -> None:
        self._number = number
        self._count: dict[Identity, int] = {}
        self._numbers: dict[Identity, int] = {NOBODY: NO_NUMBER}
        self._by_number: dict[int, set[Identity]] = {}
        self._by_trait: dict[Trait, set[Identity]] = {}

    def number(self, identity: Identity) -> int:
        return self._numbers[identity]

    def of_number(self, number: int) -> Iterable[Identity]:
        return self._by_number.get(number, ())

    def numbers_with(self, traits: Iterable[Trait]) -> set[int]:
        """The numbers of all identities that have any of these traits."""
        return {self._numbers[i] for trait in traits for i in self._by_trait.get(trait, ())}

    def traits_of(self, number: int) -> set[Trait]:
        """The traits of all identities that have this number now."""
        return {trait for identity in self.of_number(number) for trait in identity.traits}

    def replace(self, gone: Iterable[Identity], come: Iterable[Identity]) -> Changed:
        """Count peers out of the identities in `gone` and into those in `come`."""
        count, changed = self._count, Changed()
        for identity in come:
            before = count.get(identity, 0)
            count[identity] = before + 1
            if not before and identity != NOBODY:
                changed.append((self._appear(identity), identity))
        for identity in gone:
            count[identity] -= 1
            if not count[identity] and identity != NOBODY:
                changed.append((self._vanish(identity), identity))
        return changed

    def problems(self, number: int) -> Iterator[Problem]:
        """A Problem for each identity that shares the number with another one by chance."""
        sharing = self.of_number(number)
        for identity in sharing if len(set(sharing)) > 1 else ():
            if identity.rules:
                message = (
                    f"the peers of this rule share the number {number} with others by chance, so "
                    "they may do only what all of them may; rename one of the policies"
                )
                yield Problem(min(identity.rules), message)

    def _appear(self, identity: Identity) -> int:
        number = self._numbers[identity] = self._number(identity)
        self._by_number.setdefault(number, set()).add(identity)
        for trait in identity.traits:
            self._by_trait.setdefault(trait, set()).add(identity)
        return number

    def _vanish(self, identity: Identity) -> int:
        del self._count[identity]
        number = self._numbers.pop(identity)
        _discard(self._by_number, number, identity)
        for trait in identity.traits:
            _discard(self._by_trait, trait, identity)
        return number


class ChangedNumbers(dict[int, set[Trait]]):
    """The numbers whose identities one piece of work has made or ended, each with their traits.

    It makes their rulings itself. So a short change has its end even while a long one waits.
    """

    def __init__(self, direction: Direction, slices: Slices) -> None:
        super().__init__()
        self._direction: Direction = direction
        self._slices = slices
        self._first: set[int] = set()

    def note(self, changed: Changed) -> None:
        for number, identity in changed:
            if not self.by_others(number):
                self._first.add(number)
                self._slices.numbers.add((self._direction, number))
            self.setdefault(number, set()).update(identity.traits)

    def by_others(self, number: int) -> bool:
        """Whether the kernel may lack rulings on this number, which other work has changed."""
        return number not in self._first and (self._direction, number) in self._slices.numbers


def _discard(where: dict[K, set[Identity]], key: K, identity: Identity) -> None:
    where[key].discard(identity)
    if not where[key]:
        del where[key]

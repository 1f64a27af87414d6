"""Claims, and how they settle into table entries.

A compiler yields claims: one object asks for one value under one key. `settle_key` makes the entry.
Equal claims to one key merge, and the entry keeps the causes of all. Unequal claims are a conflict:
the claim with the lowest (rank, cause) wins, so an older object (its creation time is the rank)
keeps what it has, and each losing claim becomes a Problem.
"""

from collections.abc import Collection
from typing import Generic, TypeVar

import msgspec

from steppe.kube.cause import Cause, Problem

K = TypeVar("K")
V = TypeVar("V")


class Claim(msgspec.Struct, Generic[K, V], frozen=True, gc=False):
    """One object asks for one value under one key; `rank` is compared before the cause."""

    key: K
    value: V
    cause: Cause
    rank: str = ""


class Entry(msgspec.Struct, Generic[K, V], frozen=True, gc=False):
    """The desired value of a key, and every cause for it, in order."""

    value: V
    because: tuple[Cause, ...]


def settle_key(claims: Collection[Claim[K, V]]) -> tuple[Entry[K, V], tuple[Problem, ...]]:
    """The entry for one key from all claims to it (at least one), and the losers' Problems."""
    if len(claims) == 1:
        (only,) = claims
        return Entry(only.value, (only.cause,)), ()
    ordered = sorted(claims, key=lambda claim: (claim.rank, claim.cause, str(claim.value)))
    winner = ordered[0]
    because = dict.fromkeys(c.cause for c in ordered if c.value == winner.value)
    problems = (
        Problem(
            claim.cause,
            f"{_name(claim.key)} is already taken by {winner.cause} ({winner.value}), so it is not "
            f"{claim.value}; change one of the two objects",
        )
        for claim in ordered
        if claim.value != winner.value
    )
    return Entry(winner.value, tuple(because)), tuple(dict.fromkeys(problems))


def _name(key: object) -> str:
    return f"{getattr(key, 'table', 'key')} {key}"

"""Changes in an order in which each change finds the entries that it needs.

A route needs its link and its neighbour entry; a forwarding entry needs its device. The class of a
key has a level, and an entry needs only entries of lower levels. So additions are ordered from the
lowest level up and deletions from the highest level down. Additions come first: while a prefix
moves from one next hop to another there is always a route.
"""

from collections.abc import Iterable
from itertools import chain

from steppe.plan.diff import Change
from steppe.state.link import Link, LinkKey


def ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The same changes, dependencies first."""
    # There may be 100,000, of very few ranks: sorting would hold a rank for each of them.
    by_rank: dict[tuple[int, int], list[Change]] = {}
    for change in changes:
        by_rank.setdefault(_rank(change), []).append(change)
    return tuple(chain.from_iterable(by_rank[rank] for rank in sorted(by_rank)))


def _rank(change: Change) -> tuple[int, int]:
    level = change.key.level
    if change.new is None:
        return (2, -level)
    # A device that must be made again loses its routes and entries, so it is deleted first; the
    # next pass over the tables adds the lost keys again.
    return (0 if _remakes(change) else 1, level)


def _remakes(change: Change) -> bool:
    old, new = change.old, change.new
    return (
        isinstance(change.key, LinkKey)
        and isinstance(old, Link)
        and isinstance(new, Link)
        and old.kind != new.kind
    )

"""Changes in an order in which each finds what it needs.

A route needs its link and, through it, its neighbour; a forwarding entry needs its device. The
keys of a table say so as their level: an entry needs only what is on lower ones. So
additions go from the ground up and deletions from the top down, additions first: while a
prefix moves from one next hop to another there is always a way to go.
"""

from collections.abc import Iterable

from steppe.plan.diff import Change
from steppe.state.link import Link, LinkKey


def ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The same changes, dependencies first."""
    return tuple(sorted(changes, key=_rank))


def _rank(change: Change) -> tuple[int, int]:
    level = change.key.level
    if change.new is None:
        return (2, -level)
    # A device that must be made anew takes its routes and entries with it, so it goes first and
    # the keys it carried are added back by the next pass over the tables.
    return (0 if _remakes(change) else 1, level)


def _remakes(change: Change) -> bool:
    old, new = change.old, change.new
    return (
        isinstance(change.key, LinkKey)
        and isinstance(old, Link)
        and isinstance(new, Link)
        and old.kind != new.kind
    )

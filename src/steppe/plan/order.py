"""Changes in an order in which each finds what it needs.

A route needs its link and, through it, its neighbour; a forwarding entry needs its device. The
class of a table's keys says so as its level: an entry needs only what is on lower ones. So
additions go from the ground up and deletions from the top down, additions first: while a
prefix moves from one next hop to another there is always a way to go.
"""

from collections.abc import Iterable

from steppe.plan.diff import Change
from steppe.state.link import Link, LinkKey
from steppe.state.nft import ElementKey
from steppe.state.route import MAIN, RouteKey

_ELEMENT, _GONE = (1, ElementKey.level, 0), (2, -ElementKey.level, 0)


def ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The same changes, dependencies first."""
    return tuple(sorted(changes, key=_rank))


def _rank(change: Change) -> tuple[int, int, int]:
    if isinstance(change.key, ElementKey):  # as nearly all are
        return _ELEMENT if change.new is not None else _GONE
    level, detail = change.key.level, _detail(change)
    if change.new is None:
        return (2, -level, detail)
    # A device that must be made anew takes its routes and entries with it, so it goes first and
    # the keys it carried are added back by the next pass over the tables.
    return (0 if _remakes(change) else 1, level, detail)


def _detail(change: Change) -> int:
    """The main table first: an on-link next hop of another table must not be reached by a route
    of the main table over another link (ip6_route_check_nh_onlink: "device mismatch").
    """
    key = change.key
    return int(isinstance(key, RouteKey) and key.routing_table != MAIN)


def _remakes(change: Change) -> bool:
    old, new = change.old, change.new
    return (
        isinstance(change.key, LinkKey)
        and isinstance(old, Link)
        and isinstance(new, Link)
        and old.kind != new.kind
    )

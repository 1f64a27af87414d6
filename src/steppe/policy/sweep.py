"""The port space cut where rules begin and end, with the rules that are in force in each segment.

    rule 0: 80-90         rule 1: 85-99
    ─▶ 0-79: none   80-84: 0   85-90: 0, 1   91-99: 1   100-65535: none

One pass over the sorted ends: a policy with thousands of ranges costs n log n, not n².
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from steppe.net.ports import LAST_PORT

Span = tuple[int, int]
"""A first and a last port."""


def swept(rules: Sequence[Iterable[Span]]) -> Iterator[tuple[int, int, list[int]]]:
    """Segments in order, from port 0 to the last: first, last, and the numbers of the rules.

    The list of numbers is in order; it is changed with the next segment.
    """
    ends: dict[int, dict[int, int]] = {}
    for rule, spans in enumerate(rules):
        for first, last in spans:
            for cut, more in ((first, 1), (last + 1, -1)):
                at = ends.setdefault(cut, {})
                at[rule] = at.get(rule, 0) + more
    # A rule may hold ranges that overlap: it is in force while any of them is.
    depth = [0] * len(rules)
    active: list[int] = []
    first = 0
    for cut in sorted(ends):
        if first < cut:
            yield first, min(cut, LAST_PORT + 1) - 1, active
            first = cut
        for rule, more in ends[cut].items():
            was, depth[rule] = depth[rule], depth[rule] + more
            if not was and depth[rule]:
                insort(active, rule)
            elif was and not depth[rule]:
                del active[bisect_left(active, rule)]
    if first <= LAST_PORT:
        yield first, LAST_PORT, active

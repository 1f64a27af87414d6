"""Which chains the packets of a hook may get to, and what is asked on each way there. Pure."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from steppe.drivers.nftables.expressions import both
from steppe.state.surroundings import Matching

MOST = 8
"""Ways into one chain that are told apart; with more, what is asked on the way is not known."""

C = TypeVar("C")


def ways_from(base: C, jumps: Mapping[C, Iterable[tuple[C, Matching]]]) -> dict[C, list[Matching]]:
    """A base chain and those that its packets may get to, each with what is asked on each way.

    `jumps`: from a chain to others, each with what its rule asks. The cost is that of MOST times
    all jumps.
    """
    known: dict[C, list[Matching]] = {base: [Matching()]}
    left = [(base, Matching())]
    while left:
        chain, way = left.pop()
        for further, asked in jumps.get(chain, ()):
            ways = known.setdefault(further, [])
            then = both(way, asked) if len(ways) < MOST else Matching(partial=True)
            if then not in ways:
                ways.append(then)
                left.append((further, then))
    return known

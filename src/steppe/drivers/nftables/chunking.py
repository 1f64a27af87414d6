"""Splits a large change into several transactions, as far as no packet can be affected by that.

The kernel enlarges the hash table of a set in a worker, while no elements are added. In one large
transaction the elements are added faster than that, to buckets that are full
(`rhashtable_insert_slow` in lib/rhashtable.c). 260,000 elements take 3 to 6 s of kernel time in one
transaction, 0.55 s in chunks of 10,000.
"""

from collections.abc import Container, Iterator, Mapping, Sequence

from steppe.plan.diff import Change
from steppe.state.nft import ElementKey, Set

AT_ONCE = 10_000
_DESTINATIONS = ("ipv4_addr", "ipv6_addr")


def chunks(sets: Mapping[str, Set], changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """The changes as transactions: first additions without effect, in chunks; then all the rest."""
    if len(changes) <= AT_ONCE:
        yield changes
        return
    destinations = {name for name, spec in sets.items() if spec.data.startswith(_DESTINATIONS)}
    ahead: list[Change] = []
    rest: list[Change] = []
    for change in changes:
        (ahead if _may_go_ahead(destinations, change) else rest).append(change)
    for start in range(0, len(ahead), AT_ONCE):
        yield ahead[start : start + AT_ONCE]
    if rest:
        yield rest


def _may_go_ahead(destinations: Container[str], change: Change) -> bool:
    """Whether the change adds a destination, which has no effect before its verdict is added.

    Only `dnat` looks destinations up, by a number that a verdict's chain has chosen. Verdicts are
    in the last transaction. The verdicts that are in the kernel choose among fewer destinations, or
    their destination is missing and is being restored.
    """
    if change.old is not None or change.new is None or not isinstance(change.key, ElementKey):
        return False
    return change.key.set in destinations

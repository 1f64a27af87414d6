"""A large change in several transactions, where no packet can tell.

The kernel's worker makes the hash table of a set larger while nothing is being added. The elements
of one large transaction are faster than that: they queue up in buckets that are long since full
(`rhashtable_insert_slow` in lib/rhashtable.c). 260,000 elements take 3 to 6 s of the kernel's time
in one transaction, 0.55 s in chunks of 10,000.
"""

from collections.abc import Container, Iterator, Mapping, Sequence

from steppe.plan.diff import Change
from steppe.state.nft import ElementKey, Set

AT_ONCE = 10_000
_DESTINATIONS = ("ipv4_addr", "ipv6_addr")


def chunks(sets: Mapping[str, Set], changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """The changes as transactions: what may go ahead in small ones, then all the rest at once."""
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
    """Whether it adds a destination: only `dnat` asks for one, by a choice that a verdict leads to.

    Verdicts are among the rest. Those in the kernel by now choose among fewer, or what they choose
    is missing and is put back.
    """
    if change.old is not None or change.new is None or not isinstance(change.key, ElementKey):
        return False
    return change.key.set in destinations

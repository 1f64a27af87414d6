"""What others have changed in our own table: rules of chains, base chains' policies, its flags.

Chains are compared as the kernel's bytes (dump.py), which costs the same whatever the sets hold.
Only where something differs does libnftables list the rules, to say what an added one does.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher

from steppe.drivers.errors import TablesChangedError
from steppe.drivers.nftables.dump import Dump, Form
from steppe.drivers.nftables.expected import Expected
from steppe.drivers.nftables.others import added_rules
from steppe.state.nft import Skeleton
from steppe.state.surroundings import Altered, PacketRule

_DORMANT = 1  # NFT_TABLE_F_DORMANT in linux/netfilter/nf_tables.h


def alterations(expected: Expected) -> tuple[Altered, ...]:
    """In the caller's network namespace; () if the table is as it shall be.

    The kernel is read twice, and only what both readings have is told: between the messages of
    one reading our own changes may come.
    """
    dump = Dump(expected.skeleton.table)
    try:
        found = _read(dump, expected)
        if found:
            again = _read(dump, expected)
            found = tuple(each for each in again if each in found)
        return found
    finally:
        dump.close()


def _read(dump: Dump, expected: Expected) -> tuple[Altered, ...]:
    actual = dump.form()
    if actual is None:
        return (Altered("gone"),)
    if int.from_bytes(actual.flags or b"", "big") & _DORMANT:
        return (Altered("asleep"),)
    wanted, _ = expected.beside(actual)
    if actual.chains == wanted.chains:
        return ()
    missing = tuple(_missing(expected.skeleton, actual, wanted))
    return (*missing, *_added(dump, expected.skeleton, actual, wanted))


def _missing(skeleton: Skeleton, actual: Form, wanted: Form) -> Iterator[Altered]:
    for name, shall in wanted.chains.items():
        held = actual.chains.get(name)
        rules = held.rules if held is not None else ()
        there = SequenceMatcher(a=shall.rules, b=rules, autojunk=False).get_matching_blocks()
        kept = {block.a + step for block in there for step in range(block.size)}
        lost = [place for place in range(len(shall.rules)) if place not in kept]
        chain = skeleton.chain(name)
        if lost and chain is not None:
            text = str(chain.rules[lost[0]]) if len(chain.rules) == len(shall.rules) else ""
            yield Altered("missing", name, text, len(lost), whole=not kept)


def _added(dump: Dump, skeleton: Skeleton, actual: Form, wanted: Form) -> Iterator[Altered]:
    """What is there and not wanted, where it does something to packets."""
    handles, numbers = dump.handles(), set[int]()
    for name, held in actual.chains.items():
        shall = wanted.chains.get(name)
        known = handles.get(name, [])
        if len(known) != len(held.rules):
            what = f"read chain {name} of table inet {skeleton.table}"
            raise TablesChangedError(what, "its rules changed meanwhile")
        rules = shall.rules if shall is not None else ()
        blocks = SequenceMatcher(a=rules, b=held.rules, autojunk=False).get_matching_blocks()
        kept = {block.b + step for block in blocks for step in range(block.size)}
        numbers |= {number for place, number in enumerate(known) if place not in kept}
    found: dict[tuple[str, str], list[PacketRule]] = {}
    for rule in added_rules(("inet", skeleton.table), numbers):
        found.setdefault((rule.chain.rpartition(" ")[2], rule.text), []).append(rule)
    for (name, text), ways in found.items():
        yield Altered("added", name, text, rules=tuple(ways))

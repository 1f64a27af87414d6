"""Other programs' nftables rules that do more than let packets pass. Read only.

iptables is seen too where it is the nft variant; legacy.py reads the other one.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from steppe.drivers.nftables.expressions import both, does, marked_bits, matching, words
from steppe.drivers.nftables.library import Library, NftError, Output
from steppe.drivers.nftables.ways import ways_from
from steppe.state.surroundings import Matching, PacketRule

# A string of nft's scanner that needs no quotes, which names of tables may not have.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9/\\_.-]*")
_TEXT = re.compile(r"^\t\t(.*?) # handle (\d+)$", re.MULTILINE)
_COUNTED = re.compile(r"counter packets \d+ bytes \d+ ?")
_DORMANT = re.compile(r"^\tflags .*\bdormant\b", re.MULTILINE)
_PAST = frozenset(("accept", "return", "jump", "goto", "vmap"))
"""What ends a packet's way through a chain, or may end it."""

Json = Any
Table = tuple[str, str]
"""Family and name."""


def packet_rules(own: Table) -> tuple[PacketRule, ...]:
    """All there are in this namespace, but for the table that is our own."""
    with Library() as nft:
        # As text: nft 1.0.6 writes half a document where a table has flags.
        tables = [_name(shown) for shown in nft.ask("list tables").splitlines()]
        return tuple(rule for table in tables if table != own for rule in _looked_into(nft, table))


def added_rules(own: Table, handles: Collection[int]) -> tuple[PacketRule, ...]:
    """Of our own table: what these rules do, and policies of base chains that drop.

    A rule that only counts, or that no packet gets to, does nothing. One in a chain that elements
    of a verdict map lead to has a hook of `any`: which packets come there is not looked up.
    """
    with Library() as nft:
        return tuple(_in_table(nft, own, handles))


def _looked_into(nft: Library, table: Table) -> tuple[PacketRule, ...]:
    if not all(map(_WORD.fullmatch, table)):
        where = f"{table[0]} {table[1]!r}"
        return (PacketRule(where, "any", "not looked into, by its name", "unread"),)
    try:
        return tuple(_in_table(nft, table))
    except (NftError, ValueError) as error:
        # As "unsupported extension", where iptables' is not built into libnftables.
        text = f"not looked into: {error}"
        return (PacketRule(" ".join(table), "any", text, "unread"),)


def _in_table(
    nft: Library, table: Table, added: Collection[int] | None = None
) -> Iterator[PacketRule]:
    """Of all rules, or of our own table's added ones."""
    command = f"list table {table[0]} {table[1]}"
    shown = nft.ask(command, Output.TERSE | Output.HANDLE)
    if _DORMANT.search(shown):
        return  # "the table is not evaluated any more" (nft(8))
    listed = json.loads(nft.ask(command, Output.JSON | Output.TERSE | Output.HANDLE))
    texts = {int(handle): text for text, handle in _TEXT.findall(shown)}
    rules: dict[str, list[Json]] = {}
    chains: dict[str, Json] = {}
    reached: set[str] = set()
    for each in listed["nftables"]:
        if "chain" in each:
            chains[each["chain"]["name"]] = each["chain"]
        elif "rule" in each:
            rules.setdefault(each["rule"]["chain"], []).append(each["rule"])
    jumps = {
        name: [
            (further, matching(rule["expr"], table[0]))
            for rule in held
            for further in sorted(_targets(rule["expr"]))
        ]
        for name, held in rules.items()
    }
    for name, chain in chains.items():
        if "hook" not in chain:
            continue
        if chain.get("policy") == "drop":
            where, only = " ".join((*table, name)), matching([], table[0])
            yield PacketRule(where, chain["hook"], "policy drop", "drop", _partial(only))
        for inner, on_the_way in ways_from(name, jumps).items():
            reached.add(inner)
            some = _of(rules.get(inner, []), added)
            yield from _of_chain(table, chain["hook"], some, texts, on_the_way)
    if added is not None:
        for name in sorted(chains.keys() - reached):
            ways = [Matching(partial=True)]
            yield from _of_chain(table, "any", _of(rules.get(name, []), added), texts, ways)


def _of(rules: list[Json], added: Collection[int] | None) -> list[Json]:
    """These rules, or the added ones of them, which take packets past the rest of the chain too."""
    if added is None:
        return rules
    return [rule | {"own": True} for rule in rules if rule["handle"] in added]


def _of_chain(
    table: Table, hook: str, rules: list[Json], texts: dict[int, str], ways: list[Matching]
) -> Iterator[PacketRule]:
    for rule in rules:
        word = does(rule["expr"])
        if not word and "own" in rule and words(rule["expr"]) & _PAST:
            word = "accept"
        if not word:
            continue
        text = _COUNTED.sub("", texts.get(rule["handle"], f"rule with handle {rule['handle']}"))
        bits = marked_bits(rule["expr"], text) if word == "mark" else 0
        at, own = " ".join((*table, rule["chain"])), matching(rule["expr"], table[0])
        for way in dict.fromkeys(both(way, own) for way in ways):
            yield PacketRule(at, hook, text, word, way, bits)


def _partial(found: Matching) -> Matching:
    """A policy takes what no rule of the chain has taken."""
    return both(found, Matching(partial=True))


def _targets(expression: Json) -> set[str]:
    """The chains that an expression may lead to."""
    if isinstance(expression, list):
        return {target for each in expression for target in _targets(each)}
    if not isinstance(expression, dict):
        return set()
    found = _targets(list(expression.values()))
    for verdict in ("jump", "goto"):
        if isinstance(expression.get(verdict), dict):
            found.add(str(expression[verdict]["target"]))
    return found


def _name(shown: str) -> Table:
    _, family, name = shown.split(" ", 2)
    return family, name

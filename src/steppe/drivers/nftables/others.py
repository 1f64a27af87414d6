"""What other programs' nftables rules may do to packets: those that drop or refuse. Read only.

iptables is seen too where it is the nft variant. Of the legacy one the kernel tells only which
tables are in use.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from steppe.drivers.nftables.library import Library, Output

_ENDINGS = frozenset(("drop", "reject"))
_LEGACY = (("iptables-legacy", "ip_tables_names"), ("ip6tables-legacy", "ip6_tables_names"))
# A string of nft's scanner that needs no quotes, which names of tables may not have.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9/\\_.-]*")
_TEXT = re.compile(r"^\t\t(.*?) # handle (\d+)$", re.MULTILINE)

Json = Any
Table = tuple[str, str]
"""Family and name."""


class Dropping(msgspec.Struct, frozen=True, order=True):
    """A rule, or a base chain's policy, by which packets may be lost at a hook."""

    chain: str
    hook: str
    text: str


def dropping(own: Table) -> tuple[Dropping, ...]:
    """All there are in this namespace, but for the table that is our own."""
    with Library() as nft:
        listed = json.loads(nft.ask("list tables", Output.JSON))
        tables = [_name(each["table"]) for each in listed["nftables"] if "table" in each]
        found = [each for table in tables if table != own for each in _in_table(nft, table)]
    return (*found, *_legacy())


def _in_table(nft: Library, table: Table) -> Iterator[Dropping]:
    if not all(map(_WORD.fullmatch, table)):
        yield Dropping(f"{table[0]} {table[1]!r}", "any", "not looked into, by its name")
        return
    command = f"list table {table[0]} {table[1]}"
    listed = json.loads(nft.ask(command, Output.JSON | Output.TERSE | Output.HANDLE))
    shown = nft.ask(command, Output.TERSE | Output.HANDLE)
    texts = {int(handle): text for text, handle in _TEXT.findall(shown)}
    rules: dict[str, list[Json]] = {}
    chains: dict[str, Json] = {}
    for each in listed["nftables"]:
        if "chain" in each:
            chains[each["chain"]["name"]] = each["chain"]
        elif "rule" in each:
            rules.setdefault(each["rule"]["chain"], []).append(each["rule"])
    for name, chain in chains.items():
        if "hook" not in chain:
            continue
        where = " ".join((*table, name))
        if chain.get("policy") == "drop":
            yield Dropping(where, chain["hook"], "policy drop")
        for inner in _led_to(name, rules):
            at = " ".join((*table, inner))
            for rule in rules.get(inner, ()):
                if _words(rule["expr"]) & _ENDINGS:
                    text = texts.get(rule["handle"], f"rule with handle {rule['handle']}")
                    yield Dropping(at, chain["hook"], text)


def _led_to(base: str, rules: Mapping[str, list[Json]]) -> Iterator[str]:
    """A base chain, and those that its packets may get to."""
    known, left = {base}, [base]
    while left:
        chain = left.pop()
        yield chain
        for rule in rules.get(chain, ()):
            further = _targets(rule["expr"]) - known
            known |= further
            left += sorted(further)


def _words(expression: Json) -> set[str]:
    """All statements' and verdicts' names in an expression, however deep."""
    if isinstance(expression, list):
        return {word for each in expression for word in _words(each)}
    if not isinstance(expression, dict):
        return set()
    if "xt" in expression:  # an extension of iptables', which nft knows by name at most
        return {"reject"} if "REJECT" in str(expression["xt"]) else set()
    return {*expression, *_words(list(expression.values()))}


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


def _legacy() -> Iterator[Dropping]:
    for program, file in _LEGACY:
        try:
            names = Path("/proc/thread-self/net", file).read_text().split()
        except OSError:
            continue  # no such kernel module
        if names:
            text = f"tables {', '.join(names)}: not looked into, {program}-save shows them"
            yield Dropping(program, "any", text)


def _name(table: Json) -> Table:
    return str(table["family"]), str(table["name"])

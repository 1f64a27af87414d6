"""The skeleton and its elements as nft(8) text.

Whatever goes into a command is either a typed value or a word that matches a pattern given here,
so that nothing from an API object can end a word, a line or a quotation.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.remember import is_remembering
from steppe.state.nft import (
    Action,
    Atom,
    Chain,
    Count,
    Dispatch,
    Dnat,
    Element,
    Go,
    Log,
    Marked,
    Match,
    Recall,
    Rule,
    Set,
    Skeleton,
)

_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_TYPE = re.compile(r"[a-z0-9_]+( \. [a-z0-9_]+)*")
_WORDS = re.compile(r"[a-zA-Z0-9_.:/-]+( [a-zA-Z0-9_.:/-]+)*")
# "The comment ... maximum 128 characters" (nft(8), RULES); a quotation mark cannot be escaped.
_COMMENT = re.compile(r"[^\"\\\x00-\x1f\x7f]{0,128}")

_DYNAMIC_SIZE = 1 << 20
"""The most that a dynamic map may hold; without a size nft takes 65,535."""

Row = tuple[tuple[Atom, ...], Element | None]
"""A key, and what a map shall hold under it; None where the key alone is wanted."""


def identifier(name: str) -> str:
    return _checked(_IDENTIFIER, name, "name")


def skeleton_text(skeleton: Skeleton, *, dormant: bool = False) -> str:
    """Commands that make the table again, whether a table of this name exists or not.

    A `dormant` one is asleep: "the table is not evaluated any more (base chains are unregistered)"
    (nft(8), TABLES).
    """
    table = identifier(skeleton.table)
    # `delete` fails without a table, so there is one first; all of it is one transaction.
    lines = [f"add table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    lines += ["\tflags dormant;"] if dormant else []
    lines += map(_set, skeleton.sets)
    lines += map(_chain, skeleton.chains)
    return "\n".join((*lines, "}", ""))


def waking_text(skeleton: Skeleton) -> str:
    """The command that wakes the table: one without flags."""
    return f"add table inet {identifier(skeleton.table)}\n"


def chain_text(table: str, chain: Chain, *, dormant: bool = False) -> str:
    """Commands that make one more chain; those it names must be there.

    They set the table's flags too: only with `dormant` a table that is asleep stays so. A chain
    that remembers stays empty: its rules are written by nfnetlink (remember.py).
    """
    flags = "\tflags dormant;\n" if dormant else ""
    return f"table inet {identifier(table)} {{\n{flags}{_chain(chain)}\n}}\n"


def elements_text(verb: str, table: str, spec: Set, rows: Iterable[Row]) -> str:
    """One command for all these elements of one set or map."""
    data = _verdict if spec.data == "verdict" else _data
    listed = ", ".join(
        f"{' . '.join(map(atom, key))}{data(value) if spec.data and value else ''}"
        for key, value in rows
    )
    return f"{verb} element inet {identifier(table)} {identifier(spec.name)} {{ {listed} }}\n"


def atom(value: Atom) -> str:
    """One value as nft reads it."""
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    return _checked(_IDENTIFIER, value, "word")


def _data(value: Element) -> str:
    return f" : {' . '.join(map(atom, value.data))}"


def _verdict(value: Element) -> str:
    (verdict,) = map(atom, value.data)
    return f" : {verdict}" if verdict == "drop" else f" : goto {verdict}"


def _set(spec: Set) -> str:
    data = f" : {_checked(_TYPE, spec.data, 'data type')}" if spec.data else ""
    parts = [f"type {_checked(_TYPE, spec.type, 'set type')}{data};"]
    parts += ["flags interval;"] if spec.interval else []
    parts += [f"flags dynamic,timeout; size {_DYNAMIC_SIZE};"] if spec.dynamic else []
    parts += [f"comment {_quoted(spec.comment)};"] if spec.comment else []
    return f"\t{kind(spec)} {identifier(spec.name)} {{ {' '.join(parts)} }}"


def kind(spec: Set) -> str:
    """What nft calls it."""
    return "map" if spec.data else "set"


def _chain(chain: Chain) -> str:
    lines = [f"\tchain {identifier(chain.name)} {{"]
    if chain.hook is not None:
        hook = chain.hook
        where = f"type {hook.type} hook {hook.point} priority {int(hook.priority)}"
        lines.append(f"\t\t{where}; policy accept;")
    if not is_remembering(chain):
        lines += (f"\t\t{_rule(rule)}" for rule in chain.rules)
    return "\n".join((*lines, "\t}"))


def _rule(rule: Rule) -> str:
    comment = f" comment {_quoted(rule.comment)}" if rule.comment else ""
    return f"{' '.join((*map(_match, rule.matches), _action(rule.action)))}{comment}"


def _match(match: Match | Marked) -> str:
    if isinstance(match, Marked):
        return str(match)
    field = _words(match.field)
    right = f"@{identifier(match.set)}" if match.set else _words(match.literal)
    return f"{field} != {right}" if match.negate else f"{field} {right}"


def _action(action: Action) -> str:
    """The action in nft's words, which are its `str` once its own words are found to be words."""
    if isinstance(action, Go):
        identifier(action.chain)
    elif isinstance(action, Dispatch | Dnat | Recall):
        _words(action.field)
        identifier(action.map)
    elif isinstance(action, Count):
        _words(action.field)
        identifier(action.set)
    elif isinstance(action, Log):
        identifier(action.prefix)
    return str(action)


def _words(text: str) -> str:
    return _checked(_WORDS, text, "expression")


def _quoted(comment: str) -> str:
    return f'"{_checked(_COMMENT, comment, "comment")}"'


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise NftError(f"{text!r} is no {what} that may go into an nft command")
    return text

"""The skeleton and its elements as nft(8) text.

Whatever goes into a command is either a typed value or a word that matches a pattern given here,
so that nothing from an API object can end a word, a line or a quotation.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from steppe.drivers.nftables.library import NftError
from steppe.state.nft import Atom, Chain, Match, Rule, Set, Skeleton

_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_TYPE = re.compile(r"[a-z0-9_]+( \. [a-z0-9_]+)*")
_WORDS = re.compile(r"[a-zA-Z0-9_.:/-]+( [a-zA-Z0-9_.:/-]+)*")
# "The comment ... maximum 128 characters" (nft(8), RULES); a quotation mark cannot be escaped.
_COMMENT = re.compile(r"[^\"\\\x00-\x1f\x7f]{0,128}")


def identifier(name: str) -> str:
    return _checked(_IDENTIFIER, name, "name")


def skeleton_text(skeleton: Skeleton) -> str:
    """Commands that make the table anew, from nothing or from whatever holds its name."""
    table = identifier(skeleton.table)
    # `delete` fails without a table, so there is one first; all of it is one transaction.
    lines = [f"add table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    lines += map(_set, skeleton.sets)
    lines += map(_chain, skeleton.chains)
    return "\n".join((*lines, "}", ""))


def elements_text(verb: str, table: str, name: str, keys: Iterable[tuple[Atom, ...]]) -> str:
    """One command for all these elements of one set."""
    listed = ", ".join(" . ".join(map(atom, key)) for key in keys)
    return f"{verb} element inet {identifier(table)} {identifier(name)} {{ {listed} }}\n"


def atom(value: Atom) -> str:
    """One value as nft reads it."""
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    if isinstance(value, int):
        return str(int(value))
    return _checked(_IDENTIFIER, value, "word")


def _set(spec: Set) -> str:
    parts = [f"type {_checked(_TYPE, spec.type, 'set type')};"]
    parts += ["flags interval;"] if spec.interval else []
    parts += [f"comment {_quoted(spec.comment)};"] if spec.comment else []
    return f"\tset {identifier(spec.name)} {{ {' '.join(parts)} }}"


def _chain(chain: Chain) -> str:
    head = f"type {chain.type} hook {chain.hook} priority {int(chain.priority)}; policy accept;"
    lines = [f"\tchain {identifier(chain.name)} {{", f"\t\t{head}"]
    lines += (f"\t\t{_rule(rule)}" for rule in chain.rules)
    return "\n".join((*lines, "\t}"))


def _rule(rule: Rule) -> str:
    comment = f" comment {_quoted(rule.comment)}" if rule.comment else ""
    return f"{' '.join((*map(_match, rule.matches), rule.verdict))}{comment}"


def _match(match: Match) -> str:
    field = _checked(_WORDS, match.field, "field")
    right = f"@{identifier(match.set)}" if match.set else _checked(_WORDS, match.literal, "literal")
    return f"{field} != {right}" if match.negate else f"{field} {right}"


def _quoted(comment: str) -> str:
    return f'"{_checked(_COMMENT, comment, "comment")}"'


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise NftError(f"{text!r} is no {what} that may go into an nft command")
    return text

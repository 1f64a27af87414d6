"""What a rule in nft's JSON does to packets, and to which (libnftables-json(5)). Pure.

What is not understood makes a rule's matching `partial`: it may take fewer packets than it says.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from steppe.net.address import IPNetwork, holds, parse_prefix
from steppe.state.surroundings import Matching, Ports

Json = Any

_DOES = {
    "drop": "drop",
    "reject": "reject",
    "dnat": "dnat",
    "redirect": "dnat",
    "tproxy": "dnat",
    "fwd": "dnat",
    "snat": "snat",
    "masquerade": "snat",
    "notrack": "notrack",
    "queue": "queue",
    "synproxy": "dnat",
}
_TARGETS = {
    "REJECT": "reject",
    "DNAT": "dnat",
    "REDIRECT": "dnat",
    "NETMAP": "dnat",
    "TPROXY": "dnat",
    "DNPT": "dnat",
    "SYNPROXY": "dnat",
    "SNAT": "snat",
    "MASQUERADE": "snat",
    "SNPT": "snat",
    "CT": "notrack",
    "NOTRACK": "notrack",
    "NFQUEUE": "queue",
    "MARK": "mark",
    "CONNMARK": "mark",
    "HMARK": "mark",
}
"""iptables' targets, which nft's JSON knows by name alone (iptables-extensions(8))."""
ORDER = ("drop", "reject", "dnat", "notrack", "snat", "queue", "mark")
"""Of several things that a rule does, the first of these is told."""
_ALL_BITS = 0xFFFFFFFF
_OR = re.compile(r"mark or (0x[0-9a-f]+)")
_LINKS = {"iifname": "iif", "iif": "iif", "oifname": "oif", "oif": "oif"}


def does(expressions: Json) -> str:
    """The word for what the rule does (state/surroundings.py); "" if it only lets packets pass."""
    found = {_DOES[word] for word in words(expressions) if word in _DOES}
    found.update(_TARGETS[name] for name in _targets(expressions) if name in _TARGETS)
    if any(_is_mark(each) for each in expressions if isinstance(each, dict)):
        found.add("mark")
    return next((word for word in ORDER if word in found), "")


def target(name: str) -> str:
    """What a target of iptables' does; "" for one that lets packets pass, or is not known."""
    return "drop" if name == "DROP" else _TARGETS.get(name, "")


def words(expression: Json) -> set[str]:
    """All statements' and verdicts' names in an expression, however deep."""
    if isinstance(expression, list):
        return {word for each in expression for word in words(each)}
    if not isinstance(expression, dict) or "xt" in expression:
        return set()
    return {*expression, *words(list(expression.values()))}


def _targets(expression: Json) -> Iterator[str]:
    for each in expression:
        known = each.get("xt") if isinstance(each, dict) else None
        if isinstance(known, dict) and known.get("type") == "target":
            yield str(known.get("name"))
        elif known is not None and "REJECT" in str(known):
            yield "REJECT"


def _is_mark(statement: Json) -> bool:
    key = statement.get("mangle", {}).get("key", {}) if isinstance(statement, dict) else {}
    return isinstance(key, dict) and key.get("meta", {}).get("key") == "mark"


def marked_bits(expressions: Json, text: str) -> int:
    """The bits of packets' marks that a rule may change."""
    for each in expressions:
        value = each["mangle"].get("value") if isinstance(each, dict) and _is_mark(each) else None
        if isinstance(value, dict) and "|" in value:
            return next((part for part in value["|"] if isinstance(part, int)), _ALL_BITS)
    found = _OR.search(text)
    return int(found[1], 16) if found else _ALL_BITS


def matching(expressions: Json, family: str) -> Matching:
    """Which packets all conditions of a rule select together."""
    found = Matching(version={"ip": 4, "ip6": 6}.get(family, 0))
    for each in expressions:
        if not isinstance(each, dict):
            continue
        if "match" in each:
            found = both(found, _condition(each["match"]))
        elif _is_condition(each):
            found = both(found, Matching(partial=True))
    return found


def _is_condition(expression: Json) -> bool:
    xt = expression.get("xt")
    if xt is not None:
        return not (isinstance(xt, dict) and xt.get("type") == "target")
    return bool({"vmap", "limit", "quota", "ct count"} & expression.keys())


def both(one: Matching, other: Matching) -> Matching:
    """What is selected by both."""
    return Matching(
        version=one.version or other.version,
        sources=_common(one.sources, other.sources),
        destinations=_common(one.destinations, other.destinations),
        protocol=one.protocol or other.protocol,
        ports=one.ports or other.ports,
        iif=one.iif or other.iif,
        oif=one.oif or other.oif,
        partial=one.partial or other.partial,
    )


def _common(one: tuple[IPNetwork, ...], other: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    if not one or not other:
        return one or other
    inner = [b for a in one for b in other if holds(a, b)]
    inner += [a for a in one for b in other if a != b and holds(b, a)]
    return tuple(dict.fromkeys(inner)) or one


def _condition(match: Json) -> Matching:
    left, right = match.get("left"), match.get("right")
    if match.get("op") not in ("==", "in") or not isinstance(left, dict):
        return Matching(partial=True)
    found = _of_payload(left["payload"], right) if "payload" in left else None
    if "meta" in left:
        found = _of_meta(left["meta"].get("key"), right)
    return found if found is not None else Matching(partial=True)


def _of_payload(payload: Json, right: Json) -> Matching | None:
    protocol, field = payload.get("protocol"), payload.get("field")
    if protocol in ("ip", "ip6"):
        version = 4 if protocol == "ip" else 6
        prefixes = tuple(_prefixes(right))
        if field in ("saddr", "daddr") and prefixes:
            where = "sources" if field == "saddr" else "destinations"
            return msgspec.structs.replace(Matching(version), **{where: prefixes})
        if field in ("protocol", "nexthdr") and isinstance(right, str):
            return Matching(version, protocol=_protocol(right))
        return Matching(version, partial=True)
    if protocol in ("tcp", "udp", "sctp", "th"):
        named = "" if protocol == "th" else protocol
        ports = tuple(_ports(right)) if field == "dport" else ()
        return Matching(protocol=named, ports=ports, partial=not ports)
    return None


def _of_meta(key: Json, right: Json) -> Matching | None:
    if key in _LINKS and isinstance(right, str):
        return msgspec.structs.replace(Matching(), **{_LINKS[key]: right})
    if key == "l4proto" and isinstance(right, str):
        return Matching(protocol=_protocol(right))
    if key == "nfproto" and right in ("ipv4", "ipv6"):
        return Matching(int(right[-1]))
    return None


def _protocol(word: str) -> str:
    return "icmp" if word == "ipv6-icmp" else word


def _each(right: Json) -> Iterable[Json]:
    return right["set"] if isinstance(right, dict) and "set" in right else (right,)


def _prefixes(right: Json) -> Iterator[IPNetwork]:
    """The addresses and prefixes; none if one of them is not understood."""
    found: list[IPNetwork] = []
    for each in _each(right):
        prefix = each.get("prefix") if isinstance(each, dict) else None
        text = f"{prefix['addr']}/{prefix['len']}" if prefix else f"{each}/{_bits(each)}"
        try:
            found.append(parse_prefix(text))
        except ValueError:
            return
    yield from found


def _bits(text: Json) -> int:
    return 128 if ":" in str(text) else 32


def _ports(right: Json) -> Iterator[Ports]:
    found: list[Ports] = []
    for each in _each(right):
        if isinstance(each, int):
            found.append((each, each))
        elif isinstance(each, dict) and "range" in each:
            first, last = each["range"]
            found.append((first, last))
        else:
            return
    yield from found

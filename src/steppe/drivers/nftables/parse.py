"""What render.py writes, read back from nft's JSON (libnftables-json(5)).

Only the forms that we write are understood. Anything else in our table is told apart from ours
(a rule becomes None, an element is left out) but not described.
"""

from ipaddress import ip_address, ip_network
from typing import Any, Literal, cast, get_args

import msgspec

from steppe.net.address import IPNetwork
from steppe.state.nft import Atom, Chain, Match, Rule, Set, Skeleton

_Verdict = Literal["accept", "drop", "return", "masquerade"]
_VERDICTS = get_args(_Verdict)


def objects(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The kinds and bodies of all objects in a listing."""
    listing = msgspec.json.decode(data, type=dict[str, list[dict[str, Any]]])
    return [item for entry in listing["nftables"] for item in entry.items()]


def parse_sets(data: bytes) -> tuple[Set, ...]:
    """The sets that a table holds, whatever else is in it."""
    return tuple(parse_set(body) for kind, body in objects(data) if kind == "set")


def parse_table(name: str, data: bytes) -> Skeleton | None:
    """The skeleton that a table holds; None if any part of it is not of a kind we write."""
    chains: dict[str, dict[str, Any]] = {}
    rules: dict[str, list[Rule]] = {}
    for kind, body in objects(data):
        if kind == "chain":
            chains[body["name"]] = body
        elif kind == "rule":
            rule = _rule(body)
            if rule is None:
                return None
            rules.setdefault(body["chain"], []).append(rule)
        elif kind not in ("metainfo", "table", "set"):
            return None
    found: list[Chain] = []
    for chain, body in chains.items():
        # A chain without a hook is never one of ours, nor is one that drops by default.
        if body.get("policy") != "accept" or not isinstance(body.get("prio"), int):
            return None
        rules_here = tuple(rules.get(chain, ()))
        found.append(Chain(chain, body["type"], body["hook"], body["prio"], rules_here))
    return Skeleton(name, parse_sets(data), tuple(found))


def parse_set(body: dict[str, Any]) -> Set:
    kind = body["type"]
    return Set(
        body["name"],
        kind if isinstance(kind, str) else " . ".join(kind),
        "interval" in body.get("flags", ()),
        body.get("comment", ""),
    )


def parse_elements(spec: Set, data: bytes) -> list[tuple[Atom, ...]]:
    """The keys of a set's elements."""
    found: list[tuple[Atom, ...]] = []
    for kind, body in objects(data):
        if kind != "set":
            continue
        for item in body.get("elem", ()):
            # An element with a timeout, counter or comment of its own is wrapped once more.
            raw = item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item
            key = _key(spec, raw)
            if key is not None:
                found.append(key)
    return found


def _key(spec: Set, raw: Any) -> tuple[Atom, ...] | None:
    if spec.interval:
        prefix = _prefix(raw)
        return None if prefix is None else (prefix,)
    values = raw["concat"] if isinstance(raw, dict) and "concat" in raw else [raw]
    atoms = tuple(map(_atom, values))
    return None if None in atoms else cast("tuple[Atom, ...]", atoms)


def _prefix(raw: Any) -> IPNetwork | None:
    """An interval as the prefix we wrote; a range that is no prefix is none of ours."""
    if isinstance(raw, str):
        return ip_network(raw)
    if isinstance(raw, dict) and "prefix" in raw:
        return ip_network(f"{raw['prefix']['addr']}/{raw['prefix']['len']}")
    return None


def _atom(raw: Any) -> Atom | None:
    if isinstance(raw, int):
        return raw
    if not isinstance(raw, str):
        return None
    try:
        return ip_address(raw)
    except ValueError:
        return raw


def _rule(body: dict[str, Any]) -> Rule | None:
    matches: list[Match] = []
    verdict: _Verdict | None = None
    for expression in body["expr"]:
        ((kind, detail),) = expression.items()
        if kind in _VERDICTS and verdict is None:
            verdict = kind
            continue
        match = _match(detail) if kind == "match" else None
        if match is None or verdict is not None:
            return None
        matches.append(match)
    if verdict is None:
        return None
    return Rule(tuple(matches), verdict, body.get("comment", ""))


def _match(detail: dict[str, Any]) -> Match | None:
    left, right = detail["left"], detail["right"]
    if detail["op"] not in ("==", "!=") or not isinstance(right, str | int):
        return None
    if "payload" in left and "protocol" in left["payload"]:
        field = f"{left['payload']['protocol']} {left['payload']['field']}"
    elif "meta" in left:
        field = f"meta {left['meta']['key']}"
    else:
        return None
    text = str(right)
    negate = detail["op"] == "!="
    if text.startswith("@"):
        return Match(field, set=text[1:], negate=negate)
    return Match(field, literal=text, negate=negate)

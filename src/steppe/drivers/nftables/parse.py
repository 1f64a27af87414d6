"""What render.py writes, read back from nft's JSON (libnftables-json(5)): sets and elements.

Only the forms that we write are understood. Anything else in our table is told apart from ours
(a rule becomes None, an element is left out) but not described.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from steppe.drivers.nftables.parse_rule import parse_rule
from steppe.net.address import IPAddress, IPNetwork
from steppe.state.nft import Atom, Chain, Element, Hook, Rule, Set, Skeleton

_Parse = Callable[[Any], Atom | None]
_Row = tuple[tuple[Atom, ...], Element]


def objects(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The kinds and bodies of all objects in a listing."""
    listing = msgspec.json.decode(data, type=dict[str, list[dict[str, Any]]])
    return [item for entry in listing["nftables"] for item in entry.items()]


def parse_table(name: str, data: bytes) -> Skeleton:
    """The skeleton that a table holds; without any chains if they are not all of kinds we write."""
    listed = objects(data)
    sets = tuple(parse_set(body) for kind, body in listed if kind in ("set", "map"))
    strange = any(kind not in _KINDS for kind, _ in listed)
    return Skeleton(name, sets, () if strange else _chains(listed))


_KINDS = ("metainfo", "table", "set", "map", "chain", "rule")


def _chains(listed: list[tuple[str, dict[str, Any]]]) -> tuple[Chain, ...]:
    bodies = {body["name"]: body for kind, body in listed if kind == "chain"}
    rules: dict[str, list[Rule]] = {name: [] for name in bodies}
    for kind, body in listed:
        if kind == "rule":
            rule = parse_rule(body)
            if rule is None:
                return ()
            rules[body["chain"]].append(rule)
    if any(body.get("policy", "accept") != "accept" for body in bodies.values()):
        return ()
    return tuple(Chain(name, tuple(rules[name]), _hook(body)) for name, body in bodies.items())


def _hook(body: dict[str, Any]) -> Hook | None:
    return Hook(body["type"], body["hook"], body["prio"]) if "hook" in body else None


def parse_set(body: dict[str, Any]) -> Set:
    kind = body["type"]
    return Set(
        body["name"],
        kind if isinstance(kind, str) else " . ".join(kind),
        "interval" in body.get("flags", ()),
        body.get("comment", ""),
        body.get("map", ""),
        "timeout" in body.get("flags", ()),
    )


def parse_elements(spec: Set, data: bytes) -> Iterator[_Row]:
    """The keys of a set's elements, and what a map holds under them; dynamic ones are not ours."""
    if spec.dynamic:
        return
    fields = _parsers(spec.type, interval=spec.interval)
    values = _parsers(spec.data) if spec.data != "verdict" else ()
    for kind, body in objects(data):
        if kind not in ("set", "map"):
            continue
        for item in body.get("elem", ()):
            raw, held = item if spec.data else (item, None)
            # An element with a timeout, counter or comment of its own is wrapped once more.
            wrapped = isinstance(raw, dict) and "elem" in raw
            key = _atoms(fields, raw["elem"]["val"] if wrapped else raw)
            value = _verdict(held) if spec.data == "verdict" else _atoms(values, held)
            if key is not None and value is not None:
                yield key, Element(value)


def _verdict(raw: Any) -> tuple[Atom, ...] | None:
    if "goto" in raw:
        return (raw["goto"]["target"],)
    return ("drop",) if "drop" in raw else None


def _atoms(parsers: tuple[_Parse, ...], raw: Any) -> tuple[Atom, ...] | None:
    """One value a parser; None if any is not of a form we write."""
    if not parsers:
        return ()
    values = raw["concat"] if isinstance(raw, dict) and "concat" in raw else (raw,)
    found: list[Atom] = []
    for parse, value in zip(parsers, values, strict=True):
        atom = parse(value)
        if atom is None:
            return None
        found.append(atom)
    return tuple(found)


def _parsers(type_: str, *, interval: bool = False) -> tuple[_Parse, ...]:
    kinds = type_.split(" . ") if type_ else []
    parsers = [_PARSERS.get(kind, _plain) for kind in kinds]
    return (_prefix, *parsers[1:]) if interval else tuple(parsers)


def _plain(raw: Any) -> Atom | None:
    return raw if isinstance(raw, int | str) else None


def _address(raw: Any) -> Atom | None:
    return _parsed_address(raw) if isinstance(raw, str) else None


def _class_id(raw: Any) -> Atom | None:
    """A number, written as two hexadecimal halves; nft's word for 0 is `none`."""
    if raw == "none":
        return 0
    major, _, minor = str(raw).partition(":")
    return (int(major, 16) << 16) + int(minor, 16) if minor else None


@lru_cache(maxsize=1 << 16)
def _parsed_address(text: str) -> IPAddress:
    """Many elements share an address, and parsing one is slow."""
    return ip_address(text)


def _prefix(raw: Any) -> IPNetwork | None:
    """An interval as the prefix we wrote; a range that is no prefix is none of ours."""
    if isinstance(raw, str):
        return ip_network(raw)
    if isinstance(raw, dict) and "prefix" in raw:
        return ip_network(f"{raw['prefix']['addr']}/{raw['prefix']['len']}")
    return None


_PARSERS: dict[str, _Parse] = {
    "ipv4_addr": _address,
    "ipv6_addr": _address,
    "classid": _class_id,
}

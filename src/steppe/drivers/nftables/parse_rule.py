"""Rules read back from nft's JSON: those that render.py writes, and None for every other."""

import re
from collections.abc import Mapping
from typing import Any, get_args

from steppe.state.nft import (
    HASH_SEED,
    Action,
    Choose,
    ChooseBy,
    Clear,
    Dispatch,
    Dnat,
    Forget,
    Go,
    Marked,
    Match,
    Recall,
    Reject,
    Remember,
    Rule,
    SetMark,
    Verdict,
)

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def parse_rule(body: Mapping[str, Any]) -> Rule | None:
    """One rule of a listing."""
    *conditions, last = body["expr"]
    matches: list[Match | Marked] = []
    for expression in conditions:
        is_match = isinstance(expression, dict) and "match" in expression
        match = _match(expression["match"]) if is_match else None
        if match is None:
            return None
        matches.append(match)
    if isinstance(last, str):  # what nft 1.0.6 has no JSON for, it puts in as text
        action = _text(last)
    else:
        ((kind, detail),) = last.items()
        action = _action(kind, detail)
    return None if action is None else Rule(tuple(matches), action, body.get("comment", ""))


def _match(detail: Mapping[str, Any]) -> Match | Marked | None:
    left, right = detail["left"], _literal(detail["right"])
    # Conntrack's states are flags of one word, which nft says with an operator of their own.
    is_state = detail["op"] == "in" and left == {"ct": {"key": "state"}}
    if not (is_state or detail["op"] in ("==", "!=")) or right is None:
        return None
    negate = detail["op"] == "!="
    if not isinstance(left, dict):
        return None
    if "&" in left:
        marked = Marked(right) if isinstance(right, int) else None
        return marked if left["&"] == [_MARK, right] and not negate else None
    field = _field(left)
    if field is None:
        return None
    text = str(right)
    if text.startswith("@"):
        return Match(field, set=text[1:], negate=negate)
    return Match(field, literal=text, negate=negate)


def _literal(right: Any) -> str | int | None:
    """A word, a number or a range of numbers."""
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        return f"{first}-{last}"
    return right if isinstance(right, str | int) else None


_MARK = {"meta": {"key": "mark"}}


def _field(left: Any) -> str | None:
    """Fields in nft's words; None for what we never write."""
    if "concat" in left:
        parts = [_field(part) for part in left["concat"]]
        return None if None in parts else " . ".join(filter(None, parts))
    if "payload" in left and "protocol" in left["payload"]:
        return f"{left['payload']['protocol']} {left['payload']['field']}"
    if "meta" in left:
        return f"meta {left['meta']['key']}"
    if "ct" in left:
        return f"ct {left['ct']['key']}"
    if "fib" in left:
        return " ".join(("fib", *left["fib"]["flags"], left["fib"]["result"]))
    return None


def _action(kind: str, detail: Any) -> Action | None:
    if kind in ("goto", "jump"):
        return Go("goto" if kind == "goto" else "jump", detail["target"])
    if kind == "vmap":
        return _dispatch(detail)
    if kind == "dnat":
        return _dnat(detail)
    if kind == "mangle":
        return _mangle(detail)
    if kind == "reject" and isinstance(detail, dict):
        return _reject(detail)
    return next((verdict for verdict in _VERDICTS if verdict == kind and detail is None), None)


_REMEMBER = re.compile(r"update @(\w+) \{ (.+) timeout ((?:\d+[dhms])+) : meta priority \}")
_FORGET = re.compile(r"delete @(\w+) \{ (.+) : meta priority \}")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def _text(text: str) -> Action | None:
    if found := _REMEMBER.fullmatch(text):
        parts = re.findall(r"(\d+)([dhms])", found[3])
        seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
        return Remember(found[2], found[1], seconds)
    if found := _FORGET.fullmatch(text):
        return Forget(found[2], found[1])
    return None


def _dispatch(detail: Mapping[str, Any]) -> Dispatch | None:
    field, name = _field(detail["key"]), detail["data"]
    if field is None or not isinstance(name, str):
        return None
    return Dispatch(field, name.removeprefix("@"))


def _dnat(detail: Mapping[str, Any]) -> Dnat | None:
    chosen = detail.get("addr", {})
    if detail.keys() != {"family", "addr"} or "map" not in chosen:
        return None
    field, name = _field(chosen["map"]["key"]), chosen["map"]["data"]
    if field is None or not isinstance(name, str):
        return None
    return Dnat(detail["family"], field, name.removeprefix("@"))


def _mangle(detail: Mapping[str, Any]) -> Action | None:
    key, value = detail["key"], detail["value"]
    if key == {"meta": {"key": "priority"}}:
        return _note(value)
    if key != _MARK or not isinstance(value, dict) or "|" not in value:
        return None
    before, bits = value["|"]
    return SetMark(bits) if before == _MARK and isinstance(bits, int) else None


def _note(value: Any) -> Choose | ChooseBy | Clear | Recall | None:
    if value == "none":
        return Clear()
    if not isinstance(value, dict):
        return None
    if "map" in value:
        field, name = _field(value["map"]["key"]), value["map"]["data"]
        return Recall(field, name.removeprefix("@")) if field and isinstance(name, str) else None
    if "jhash" in value:
        return _choose_by(value["jhash"])
    return _choose(value["numgen"]) if "numgen" in value else None


def _choose_by(detail: Mapping[str, Any]) -> ChooseBy | None:
    field, count = _field(detail["expr"]), detail["mod"]
    if field is None or detail != {"mod": count, "seed": HASH_SEED, "expr": detail["expr"]}:
        return None
    return ChooseBy(field, count)


def _choose(detail: Mapping[str, Any]) -> Choose | None:
    count = detail["mod"]
    return Choose(count) if detail == {"mode": "random", "mod": count, "offset": 0} else None


def _reject(detail: Mapping[str, Any]) -> Reject | None:
    if detail == {"type": "tcp reset"}:
        return Reject("tcp reset")
    if detail == {"type": "icmpx", "expr": "port-unreachable"}:
        return Reject("icmpx port-unreachable")
    return None

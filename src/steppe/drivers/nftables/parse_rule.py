"""Rules read back from nft's JSON: those that render.py writes, and None for every other."""

from collections.abc import Mapping
from typing import Any, get_args

from steppe.state.nft import (
    Action,
    Choose,
    Dispatch,
    Dnat,
    Go,
    Marked,
    Match,
    Reject,
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
        match = _match(expression["match"]) if "match" in expression else None
        if match is None:
            return None
        matches.append(match)
    ((kind, detail),) = last.items()
    action = _action(kind, detail)
    return None if action is None else Rule(tuple(matches), action, body.get("comment", ""))


def _match(detail: Mapping[str, Any]) -> Match | Marked | None:
    left, right = detail["left"], detail["right"]
    if detail["op"] not in ("==", "!=") or not isinstance(right, str | int):
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


def _mangle(detail: Mapping[str, Any]) -> SetMark | Choose | None:
    key, value = detail["key"], detail["value"]
    if not isinstance(value, dict):
        return None
    if key == {"meta": {"key": "priority"}} and "numgen" in value:
        return _choose(value["numgen"])
    if key != _MARK or "|" not in value:
        return None
    before, bits = value["|"]
    return SetMark(bits) if before == _MARK and isinstance(bits, int) else None


def _choose(detail: Mapping[str, Any]) -> Choose | None:
    count = detail["mod"]
    return Choose(count) if detail == {"mode": "random", "mod": count, "offset": 0} else None


def _reject(detail: Mapping[str, Any]) -> Reject | None:
    if detail == {"type": "tcp reset"}:
        return Reject("tcp reset")
    if detail == {"type": "icmpx", "expr": "port-unreachable"}:
        return Reject("icmpx port-unreachable")
    return None

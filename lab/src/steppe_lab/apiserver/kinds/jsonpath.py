"""The simple JSONPath of printer columns and selectable fields.

Fields, indices, "[*]" and filters of one comparison: .status.conditions[?(@.type=="Ready")].status
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

Step = Callable[[list[Any]], list[Any]]

_TOKEN = re.compile(
    r"""\.?\[\?\(\s*@(?P<path>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<literal>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]"""
    r"""|\[(?P<index>-?\d+)\]|\.?\[(?P<all>\*)\]|\[['"](?P<quoted>[^'"]+)['"]\]"""
    r"""|\.(?P<field>(?:\\.|[^.\[\\])+)"""
)


def _field(name: str) -> Step:
    return lambda found: [item[name] for item in found if isinstance(item, dict) and name in item]


def _index(number: int) -> Step:
    return lambda found: [
        item[number]
        for item in found
        if isinstance(item, list) and -len(item) <= number < len(item)
    ]


def _all(found: list[Any]) -> list[Any]:
    out: list[Any] = []
    for item in found:
        out += item if isinstance(item, list) else item.values() if isinstance(item, dict) else ()
    return out


def _filter(path: str, literal: str, *, equal: bool) -> Step:
    wanted = literal.strip("\"'")

    def step(found: list[Any]) -> list[Any]:
        return [
            item
            for item in _all(found)
            if any(_text(value) == wanted for value in find(path, item)) is equal
        ]

    return step


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _compiled(path: str) -> tuple[Step, ...] | None:
    """The steps of a path, or None for a path this module does not know."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    text = text if text.startswith((".", "[")) else f".{text}"
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match["op"]:
            steps.append(_filter(match["path"], match["literal"], equal=match["op"] == "=="))
        elif match["index"]:
            steps.append(_index(int(match["index"])))
        elif match["all"]:
            steps.append(_all)
        else:
            steps.append(_field((match["quoted"] or match["field"]).replace("\\.", ".")))
    return tuple(steps)


def find(path: str, value: Any) -> list[Any]:
    """All values at a path; none when the path is not understood."""
    found = [value]
    steps = _compiled(path)
    if steps is None:
        return []
    for step in steps:
        found = step(found)
    return found

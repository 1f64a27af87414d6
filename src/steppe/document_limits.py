"""How deep and how large a JSON or YAML document is, found before it is read.

Decoders and whatever walks through their results call themselves once a level: Python then raises
RecursionError in the midst of some work, and libyaml's composer, which is C, ends the process.
YAML's aliases say much with little: ten lines of ten aliases each stand for ten thousand million
values ("billion laughs").

    check_json(data), check_yaml(data)     TooDeepError says what is wrong, and where it is known
"""

import re
from typing import Any

import msgspec

from steppe.errors import SteppeError

DEEPEST = 100
"""Levels of lists and objects. The deepest that clusters hold are the schemas of
CustomResourceDefinitions, with some 40; what walks through them takes up to five calls a level, of
the thousand that Python allows."""
MOST_ALIASED = 100_000
"""Values that all aliases of a document together may stand for."""

# A string to its end, or to the end of the data; it always matches, so time is linear.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.|\\\Z)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class TooDeepError(SteppeError, ValueError):
    """A document is nested too deeply, or its aliases stand for too much.

    `line`: where, from 1 on; 0 where that is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def check_json(data: bytes, deepest: int = DEEPEST) -> None:
    """TooDeepError where JSON is nested more deeply; what is no JSON at all is let pass."""
    if data.count(b"[") + data.count(b"{") <= deepest:
        return
    # Bytes without a loop of ours over each: it takes as many passes as there are levels.
    brackets = _STRING.sub(b"", data).translate(_ONE_KIND, _NO_BRACKETS)
    levels = 0
    while brackets and levels <= deepest:
        rest = brackets.replace(b"[]", b"")
        if rest == brackets:
            # What is left is not closed, so it is no JSON; a decoder goes down as far all the same.
            levels += brackets.count(b"[")
            break
        brackets, levels = rest, levels + 1
    if levels > deepest:
        raise TooDeepError(f"it is nested more than {deepest} levels deep")


class _Shape(msgspec.Struct):
    """Of a node that is being read: its anchor, its values with aliases followed, its levels."""

    anchor: str | None
    values: int = 1
    levels: int = 1


def check_yaml(data: bytes, deepest: int = DEEPEST) -> None:
    """TooDeepError where a YAML document is nested too deeply or has excessive aliases.

    What is no YAML at all is let pass, up to where that shows: who reads it then says what is wrong
    with it.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reading = _Reading(deepest)
    try:
        for event in yaml.parse(data, Loader=base):
            reading.take(event)
    except (yaml.YAMLError, UnicodeError):
        return


class _Reading:
    """What the events so far have opened. Invariant: `_open` is never longer than `deepest`."""

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._open: list[_Shape] = []
        self._known: dict[str, _Shape] = {}
        self._aliased = 0

    def take(self, event: Any) -> None:
        """One event of PyYAML's."""
        import yaml

        match event:
            case yaml.DocumentStartEvent():
                self._known, self._aliased = {}, 0
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.ScalarEvent():
                self._close(_Shape(event.anchor, levels=0))
            case yaml.CollectionStartEvent():
                self._open.append(_Shape(event.anchor))
                self._check(len(self._open), event)
            case yaml.CollectionEndEvent():
                self._close(self._open.pop())

    def _alias(self, event: Any) -> None:
        if any(each.anchor == event.anchor for each in self._open):
            raise TooDeepError("an alias stands inside its anchor", _line(event))
        shape = self._known.get(event.anchor)
        if shape is None:
            return  # undefined: the composer says so
        self._aliased += shape.values
        if self._aliased > MOST_ALIASED:
            raise TooDeepError(
                f"its aliases stand for more than {MOST_ALIASED} values", _line(event)
            )
        self._check(len(self._open) + shape.levels, event)
        self._add(shape)

    def _close(self, shape: _Shape) -> None:
        if shape.anchor:
            self._known[shape.anchor] = shape
        self._add(shape)

    def _add(self, shape: _Shape) -> None:
        if self._open:
            around = self._open[-1]
            around.values += shape.values
            around.levels = max(around.levels, shape.levels + 1)

    def _check(self, levels: int, event: Any) -> None:
        if levels > self._deepest:
            raise TooDeepError(f"it is nested more than {self._deepest} levels deep", _line(event))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1

"""The part of YAML that manifests are mostly written in, read ten times as fast as the whole of it.

Block mappings and sequences, one value a line: plain, in quotes without escapes, a flow collection,
or a literal block (block_text.py). Whatever else a text has (folded blocks, anchors, tags, values
over several lines, keys given twice, faults) is not decided here: the answer is then NOT_PLAIN, and
`yaml_text` reads it.
Tests hold both against each other.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from steppe.manifests.block_text import MARK, without_blocks

_MARKS, _QUOTES = ("---", "..."), ("'", '"')
_DASH = re.compile("- *")
_LINE = re.compile(
    r"""
    ^(\ *)((?:-(?:\ +|$))*)                                # indentation, dashes
    (?:([\w./][\w./-]*|"[^"\\\n]*"|'[^'\n]*'):(?:\ +|$))?  # a key
    (
      "[^"\\\n]*"|'[^'\n]*'|\[[^\n]*\]|\{[^\n]*\}
      |(?:[^\s\-?:,\[\]{}\#&*!|>'"%@`]|-(?=[^\s]))         # a plain text: no indicator first
       [^\n:\#]*(?:(?::(?=[^\ \n])|(?<=[^\ ])\#)[^\n:\#]*)*
    )?
    (?:\ +\#[^\n]*|\ *)$
    |^\ *\#[^\n]*$
    """,
    re.MULTILINE | re.VERBOSE,
)
_PRINTABLE = bytes((*range(ord(" "), 127), ord("\n")))
_NOT_PRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_ANCHORED = re.compile(r"[&*!]")
_DEEPEST = 90
_MOST_KNOWN = 1 << 16
_MISSING = object()

NOT_PLAIN = object()
"""The text is not of this part of YAML."""


class _NotPlainError(Exception):
    """Something that is not decided here."""


class PlainYaml:
    """A reader of many texts.

    `scalar` says what a plain text stands for, `flow` reads a flow collection; both raise
    ValueError for what they cannot. Both are asked once for each text: manifests repeat themselves.
    """

    def __init__(self, scalar: Callable[[str], Any], flow: Callable[[str], Any]) -> None:
        self._scalar, self._flow = scalar, flow
        self._scalars: dict[str, Any] = {}
        self._flows: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._blocks: dict[str, str] = {}

    def document(self, data: bytes) -> Any:
        """The value of a text with one document, or NOT_PLAIN."""
        text = _printable(data)
        if text is None or text.startswith(_MARKS) or "\n---" in text or "\n..." in text:
            return NOT_PLAIN
        found = without_blocks(text)
        if found is None:
            return NOT_PLAIN
        text, self._blocks = found
        rows = _LINE.findall(text)
        if len(rows) != text.count("\n") + 1:
            return NOT_PLAIN
        try:
            return _Building(self).built(rows)
        except (_NotPlainError, ValueError):
            return NOT_PLAIN

    def value(self, written: str) -> Any:
        """What a value on its line stands for."""
        found = self._scalars.get(written, _MISSING)
        if found is not _MISSING:
            return found
        if written[0] in "[{":
            return self._flowing(written)
        if written[0] == MARK:
            return self._blocks[written]
        found = written[1:-1] if written[0] in _QUOTES else self._scalar(written.rstrip(" "))
        if len(self._scalars) > _MOST_KNOWN:
            self._scalars.clear()
        self._scalars[written] = found
        return found

    def name(self, written: str) -> str:
        """The key that stands there."""
        known = self._names.get(written)
        if known is not None:
            return known
        found = written[1:-1] if written[0] in _QUOTES else self._scalar(written)
        if not isinstance(found, str):
            raise _NotPlainError
        if len(self._names) > _MOST_KNOWN:
            self._names.clear()
        self._names[written] = found
        return found

    def _flowing(self, written: str) -> Any:
        if written in ("[]", "{}"):
            return [] if written == "[]" else {}
        if written not in self._flows:
            if _ANCHORED.search(written):
                raise _NotPlainError
            if len(self._flows) > _MOST_KNOWN:
                self._flows.clear()
            self._flows[written] = self._flow(written)
        return deepcopy(self._flows[written])


def _printable(data: bytes) -> str | None:
    """The text, if all of it is printable; no-break spaces and line breaks of other kinds are left
    to others.
    """
    if not data.translate(None, _PRINTABLE):
        return data.decode("ascii")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if _NOT_PRINTABLE.search(text) else text


class _Building:
    """The collections that are open, by the column at which their entries begin.

    Invariant: columns grow from the bottom of the stack to its top, but for a list whose dashes
    stand at the column of the key that it belongs to. `_empty` is the entry of the last line if it
    has no value yet: its container, key or index, and column.
    """

    def __init__(self, reader: PlainYaml) -> None:
        self._reader = reader
        self._root: Any = _MISSING
        self._open: list[tuple[int, Any]] = []
        self._empty: tuple[Any, Any, int] | None = None

    def built(self, rows: list[tuple[str, str, str, str]]) -> Any:
        name_of, value_of = self._reader.name, self._reader.value
        fields: Any = None
        at = -1
        for indent, dashes, key, value in rows:
            if not (key or value or dashes):
                continue
            column = len(indent)
            if column == at and key and not dashes:
                # One more entry of the mapping of the line before: most lines are.
                name = name_of(key)
                if name in fields:
                    raise _NotPlainError
                if value:
                    fields[name], self._empty = value_of(value), None
                else:
                    fields[name], self._empty = None, (fields, name, column)
                continue
            self._other(column, dashes, key, value)
            top = self._open[-1]
            at, fields = top if isinstance(top[1], dict) else (-1, None)
        if self._root is _MISSING:
            raise _NotPlainError
        return self._root

    def _other(self, column: int, dashes: str, key: str, value: str) -> None:
        if dashes:
            column = self._dashes(column, dashes)
        if key:
            self._entry(column, self._reader.name(key))
        elif not dashes:
            raise _NotPlainError
        if value:
            if self._empty is None:
                raise _NotPlainError
            container, index, _ = self._empty
            container[index], self._empty = self._reader.value(value), None

    def _dashes(self, column: int, dashes: str) -> int:
        """Open or go on with lists; returns the column behind the dashes."""
        for dash in _DASH.findall(dashes):
            self._item(column)
            column += len(dash)
        return column

    def _item(self, column: int) -> None:
        open_, empty = self._open, self._empty
        while open_ and open_[-1][0] > column:
            open_.pop()
        if open_ and open_[-1][0] == column and isinstance(open_[-1][1], list):
            items = open_[-1][1]
        elif (
            empty is not None
            and (empty[2] < column or (empty[2] == column and isinstance(empty[0], dict)))
        ) or (not open_ and self._root is _MISSING):
            items = self._begin(column, [])
        else:
            raise _NotPlainError
        items.append(None)
        self._empty = (items, len(items) - 1, column)

    def _entry(self, column: int, name: str) -> None:
        open_, empty = self._open, self._empty
        while open_ and open_[-1][0] > column:
            open_.pop()
        if open_ and open_[-1][0] == column and isinstance(open_[-1][1], list):
            open_.pop()
        if open_ and open_[-1][0] == column and isinstance(open_[-1][1], dict):
            fields = open_[-1][1]
        elif (empty is not None and empty[2] < column) or (not open_ and self._root is _MISSING):
            fields = self._begin(column, {})
        else:
            raise _NotPlainError
        if name in fields:
            raise _NotPlainError
        fields[name] = None
        self._empty = (fields, name, column)

    def _begin(self, column: int, collection: Any) -> Any:
        if self._root is _MISSING:
            self._root = collection
        elif self._empty is not None:
            container, key, _ = self._empty
            container[key] = collection
        if len(self._open) > _DEEPEST:
            raise _NotPlainError
        self._open.append((column, collection))
        return collection

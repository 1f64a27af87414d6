"""YAML as Kubernetes' own tools read it (sigs.k8s.io/yaml, over go-yaml v2).

They differ from PyYAML in what a plain text stands for: `=` and `22:22` are texts, `1e3` is a
number, a date stays as it is written. `yes`, `on` and `y` are true in both. Numbers without a
fraction are integers, as in the JSON that is made of them. Keys become texts.

A stream is cut at lines of `---`, as kubectl cuts it, before it is read: one document that cannot
be read leaves the others as they are.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from functools import cache
from math import isinf
from typing import Any

import msgspec

from steppe.document_limits import TooDeepError, check_yaml
from steppe.manifests.plain_yaml import NOT_PLAIN, PlainYaml

_SEPARATOR = re.compile(rb"^---[ \t]*(?:#[^\n]*)?\r?$\n?", re.MULTILINE)
_EMPTY = re.compile(rb"(?:[ \t\r]*(?:#[^\n]*)?(?:\n|\Z))*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_MERGE, _TAG = "<<", "tag:yaml.org,2002:"
_LARGEST = 1e21
"""From here on Go writes numbers with an exponent, which no field of an integer takes."""

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), True),
    **dict.fromkeys(("on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NO_NUMBERS = frozenset(
    sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
) | {".nan", ".NaN", ".NAN"}
_FIRST = frozenset("+-.0123456789yYnNtTfFoO~")


class YamlError(ValueError):
    """A document that is not read; `line` counts from 1 on in its text, 0 where it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Part(msgspec.Struct, frozen=True):
    """The text of one document of a stream, and the line at which it begins, from 1 on."""

    text: bytes
    line: int


class Document(msgspec.Struct, frozen=True):
    """A decoded document, its first line in its part, and keys that it gives twice."""

    content: Any
    line: int
    twice: tuple[str, ...] = ()


def parts_of(stream: bytes) -> Iterator[Part]:
    """The documents' texts, without those that hold only comments."""
    start, line = 0, 1
    for found in _SEPARATOR.finditer(stream):
        text = stream[start : found.start()]
        if not _EMPTY.fullmatch(text):
            yield Part(text, line)
        line += text.count(b"\n") + found[0].count(b"\n")
        start = found.end()
    if not _EMPTY.fullmatch(rest := stream[start:]):
        yield Part(rest, line)


def documents_of(text: bytes) -> Iterator[Document]:
    """The documents of one part: a single one, but where `---` has something behind it."""
    content = _plain_yaml().document(text)
    if content is not NOT_PLAIN:
        before = _EMPTY.match(text)
        yield Document(content, text.count(b"\n", 0, before.end() if before else 0) + 1)
        return
    yield from composed(text)


@cache
def _plain_yaml() -> PlainYaml:
    return PlainYaml(plain, _flow)


def _flow(text: str) -> Any:
    """A flow collection that is whole on its line."""
    (found,) = composed(text.encode())
    if found.twice:
        raise ValueError("a key is given twice")
    return found.content


def composed(text: bytes) -> Iterator[Document]:
    """`documents_of`, of any YAML."""
    import yaml

    try:
        check_yaml(text)
    except TooDeepError as error:
        raise YamlError(str(error), error.line) from error
    loader = _loader_type()(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            twice: list[str] = []
            content = _value(node, twice)
            yield Document(content, node.start_mark.line + 1, tuple(twice))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise YamlError(what, mark.line + 1 if mark else 0) from error
    except UnicodeError as error:
        raise YamlError(f"it is not UTF-8: {error}") from error
    finally:
        loader.dispose()


def _loader_type() -> Any:
    """A loader that tells plain texts by their tag; the C loader if PyYAML was built with it."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def resolve(self, kind: Any, _value: Any, implicit: Any) -> str:
            plain = kind is yaml.ScalarNode and implicit[0]
            return "" if plain else f"{_TAG}str"

    return Loader


def plain(text: str) -> Any:
    """What a plain text stands for; ValueError for a number that JSON does not have."""
    if not text or text[0] in _FIRST:
        if text in _WORDS:
            return _WORDS[text]
        if text in _NO_NUMBERS:
            raise ValueError(f"{text} is no number that an object can hold")
        if not text[0].isalpha():
            return _number(text)
    return None if text == "null" else text


def _number(text: str) -> Any:
    """The number, or the text if it is none: "Base 60 floats are a bad idea, were dropped in YAML
    1.2, and are purposefully unsupported here." (go-yaml, resolve.go)
    """
    bare = text.replace("_", "") if text[0] != "." else text
    if _INTEGER.fullmatch(bare):
        return int(bare, 8) if _OCTAL.fullmatch(bare) else int(bare, 0)
    if _FLOAT.fullmatch(bare):
        number = float(bare)
        if isinf(number):
            return text
        return int(number) if number.is_integer() and abs(number) < _LARGEST else number
    return text


def _value(node: Any, twice: list[str]) -> Any:
    if node.id == "scalar":
        return _scalar(node)
    if node.tag.startswith(f"{_TAG}python/"):
        raise YamlError(f"nothing is known of the tag {node.tag}", _line(node))
    if node.id == "sequence":
        return [_value(item, twice) for item in node.value]
    return _mapping(node, twice)


def _scalar(node: Any) -> Any:
    tag, text = node.tag, node.value
    if tag.startswith(_TAG) and tag not in _TAGS:
        raise YamlError(f"nothing is known of the tag {tag}", _line(node))
    try:
        match tag.removeprefix(_TAG):
            case "":
                return plain(text)
            case "binary":
                return base64.b64decode(text).decode()
            case "int" | "float" | "bool" | "null" as name:
                return _of_type(name, text)
    except (ValueError, binascii.Error) as error:
        raise YamlError(str(error), node.start_mark.line + 1) from error
    return text


_TAGS = frozenset(_TAG + n for n in ("str", "timestamp", "binary", "int", "float", "bool", "null"))
_TYPES: dict[str, Any] = {"int": int, "float": int | float, "bool": bool, "null": type(None)}


def _of_type(name: str, text: str) -> Any:
    found = plain(text)
    if not isinstance(found, _TYPES[name]):
        raise ValueError(f"cannot decode {text!r} as a !!{name}")  # noqa: TRY004 - it is a text's
    return found


def _mapping(node: Any, twice: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    written: set[str] = set()
    for key, value in node.value:
        if not key.tag and key.value == _MERGE:
            found.update(_merged(value, twice))
            continue
        name = _key(key)
        if name in written:
            twice.append(f"{name} (line {key.start_mark.line + 1})")
        written.add(name)
        found[name] = _value(value, twice)
    return found


def _merged(node: Any, twice: list[str]) -> dict[str, Any]:
    """What `<<` brings in; of several mappings the first has the last word."""
    several = node.value if node.id == "sequence" else [node]
    found: dict[str, Any] = {}
    for each in reversed(several):
        if each.id != "mapping":
            raise YamlError("map merge requires map or sequence of maps", each.start_mark.line + 1)
        found |= _mapping(each, twice)
    return found


def _key(node: Any) -> str:
    found = _scalar(node) if node.id == "scalar" else None
    if found is None:
        raise YamlError("a key is neither a text, a number nor true or false", _line(node))
    if isinstance(found, bool):
        return "true" if found else "false"
    return (
        found
        if isinstance(found, str)
        else f"{found:g}"
        if isinstance(found, float)
        else f"{found}"
    )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1

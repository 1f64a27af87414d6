"""The shapes of the built-in kinds, and decoding an object by its shape.

Decoding does what Go's typed decoding does: nulls and unknown fields go, and so do empty lists
and maps of optional fields (`omitempty`); a value of a wrong type is an error. The result shares
nothing with the input. Which values are allowed is decided elsewhere.
"""

from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from steppe.admission.model import FieldError, Json, Kind

_PACKAGES = {
    "": "core",
    "apps": "apps",
    "batch": "batch",
    "discovery.k8s.io": "discovery",
    "coordination.k8s.io": "coordination",
    "events.k8s.io": "events",
    "networking.k8s.io": "networking",
    "apiextensions.k8s.io": "apiextensions",
    "rbac.authorization.k8s.io": "rbac",
    "policy": "policy",
    "autoscaling": "autoscaling",
}
# Go's names of our scalar types, for its error messages.
_GO = {"string": "string", "integer": "int64", "boolean": "bool", "number": "float64"}
# How Go's JSON decoder calls what it found.
_FOUND = {str: "string", int: "number", float: "number", bool: "bool", list: "array"}
_PYTHON: dict[str, type] = {"string": str, "bytes": str, "integer": int}
_PYTHON["boolean"] = bool


@cache
def shapes() -> dict[str, dict[str, str]]:
    """Type name → field name (with "!" when required) → field type."""
    text = resources.files(__package__).joinpath("schemas.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


def type_name(kind: Kind) -> str:
    return f"{_PACKAGES[kind.group]}.{kind.version}.{kind.kind}"


class Report:
    """Where decoding stands, and what it has found wrong."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.path: list[str] = []
        self.errors: list[FieldError] = []
        self.unknown: list[str] = []
        self.types: list[str] = []  # of the objects that hold the unknown fields, in their order
        self.nulls = False

    def where(self, *more: str) -> str:
        return "".join(self.path + list(more)).removeprefix(".")

    def wrong(self, value: Any, expected: str, *more: str) -> None:
        found = _FOUND.get(type(value), "object")
        field = self.where(*more)
        names = "".join(part for part in [*self.path, *more] if part[0] != "[")
        message = (
            f"json: cannot unmarshal {found} into Go struct field "
            f"{self.root}{names} of type {expected}"
        )
        self.errors.append(FieldError(field, "FieldValueTypeInvalid", message))


class Decoder:
    """Checks and copies one value."""

    empty_goes = False  # an optional field of this type is left out when empty
    empty: Any = None

    def decode(self, value: Any, report: Report) -> Any:
        raise NotImplementedError


class _Any(Decoder):
    def decode(self, value: Any, report: Report) -> Any:  # noqa: ARG002 - nothing to find wrong
        return _copy(value)


class _Scalar(Decoder):
    def __init__(self, type_: str) -> None:
        self.type = type_
        self.python = _PYTHON.get(type_)

    def decode(self, value: Any, report: Report) -> Any:
        kind = type(value)
        if kind is self.python:
            return value
        if self.type == "int-or-string" and kind in (int, str):
            return value
        if self.type == "number" and kind in (int, float):
            return value
        if self.type == "quantity" and kind in (int, float, str):
            return str(value)
        report.wrong(value, _GO.get(self.type, "string"))
        return value


class _Time(Decoder):
    def decode(self, value: Any, report: Report) -> Any:
        if type(value) is not str:
            report.wrong(value, "string")
        elif not _is_time(value):
            message = f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse'
            report.errors.append(FieldError(report.where(), "FieldValueTypeInvalid", message))
        return value


def _is_time(text: str) -> bool:
    """RFC 3339, to the second or finer; Python alone would take a bare date too."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


class _List(Decoder):
    empty_goes = True
    empty: Any = []  # noqa: RUF012 - nobody changes it

    def __init__(self, item: Decoder) -> None:
        self.item = item

    def decode(self, value: Any, report: Report) -> Any:
        if type(value) is not list:
            report.wrong(value, "[]" + getattr(self.item, "go", "string"))
            return []
        out = []
        for index, item in enumerate(value):
            report.path.append(f"[{index}]")
            # In Go a null in a list is the type's zero value.
            report.nulls = report.nulls or item is None
            out.append(self.item.decode({} if item is None else item, report))
            report.path.pop()
        return out


class _Map(Decoder):
    empty_goes = True
    empty: Any = {}  # noqa: RUF012 - nobody changes it

    def __init__(self, item: Decoder, *, strings: bool) -> None:
        self.item = item
        self.zero: Any = "" if strings else None

    def decode(self, value: Any, report: Report) -> Any:
        if type(value) is not dict:
            report.wrong(value, "map[string]" + getattr(self.item, "go", "string"))
            return {}
        out = {}
        for key, item in value.items():
            if type(item) is str and self.zero == "":
                out[key] = item
                continue
            report.path.append(f".{key}")
            report.nulls = report.nulls or item is None
            out[key] = self.zero if item is None else self.item.decode(item, report)
            report.path.pop()
        return out


class StructDecoder(Decoder):
    """One of the types in schemas.json; its fields' decoders are made on first use."""

    def __init__(self, name: str) -> None:
        self.go = name
        self.fields: dict[str, tuple[type | None, Decoder, bool]] = {}

    def _resolve(self) -> None:
        for marked, type_ in shapes()[self.go].items():
            name = marked.removesuffix("!")
            child = decoder(type_)
            optional = name == marked
            self.fields[name] = (_PYTHON.get(type_), child, child.empty_goes and optional)

    def decode(self, value: Any, report: Report) -> Any:
        if type(value) is not dict:
            report.wrong(value, self.go)
            return {}
        if not self.fields:
            self._resolve()
        out: Json = {}
        fields = self.fields
        for key, item in value.items():
            field = fields.get(key)
            if field is None:
                report.unknown.append(report.where(f".{key}"))
                report.types.append(self.go)
            elif type(item) is field[0]:
                out[key] = item
            elif item is None:
                report.nulls = True
            elif not (field[2] and item == field[1].empty):
                report.path.append(f".{key}")
                out[key] = field[1].decode(item, report)
                report.path.pop()
        return out


@cache
def decoder(type_: str) -> Decoder:
    """The decoder of a type expression of schemas.json."""
    if type_[0] == "[":
        return _List(decoder(type_[1:-1]))
    if type_[0] == "{":
        return _Map(decoder(type_[1:-1]), strings=type_ == "{string}")
    if type_ in ("any", "time"):
        return _Any() if type_ == "any" else _Time()
    return StructDecoder(type_) if "." in type_ else _Scalar(type_)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def decode(kind: Kind, obj: Json) -> tuple[Json, Report]:
    """A clean copy of an object of a built-in kind, and what was wrong with it."""
    report = Report(kind.kind)
    return decoder(type_name(kind)).decode(obj, report), report


def fields_of(type_: str) -> dict[str, str]:
    """The fields of a type and their types; none for a list, a map or a scalar."""
    return {name.removesuffix("!"): below for name, below in shapes().get(type_, {}).items()}


def step(type_: str, field: str) -> str:
    """The type below `type_` at a field or map key; "" where there is none."""
    if type_.startswith("{"):
        return type_[1:-1]
    shape = shapes().get(type_, {})
    return shape.get(field) or shape.get(f"{field}!") or ""

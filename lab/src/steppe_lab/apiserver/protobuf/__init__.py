"""Reading objects that clients send as protobuf.

Typed clients of client-go, and with them `kubectl create`, encode what they write to built-in
kinds as protobuf without asking first; answers they accept as JSON. So this package only reads,
and only the messages in numbers.yaml: a field that is not there is refused, never dropped.
"""

import base64
import datetime as dt
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import msgspec
import yaml

from steppe.admission.model import Json
from steppe.admission.schema import shapes
from steppe_lab.apiserver.status import bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

# Every message stands in an envelope, runtime.Unknown, behind these bytes.
_MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Field(msgspec.Struct, frozen=True):
    """One numbered field of a message."""

    name: str
    type: str
    keeps_zero: bool = False
    inlined: "dict[int, Field] | None" = None


def decode(body: bytes) -> Json:
    """The object in a protobuf body, as its JSON would be."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: it lacks the prefix k8s\\0")
    type_meta, raw = b"", b""
    for number, _, value in _fields(body[len(_MAGIC) :]):
        if number == 1:
            type_meta = _bytes(value)
        elif number == 2:
            raw = _bytes(value)
    named = {number: _bytes(value).decode() for number, _, value in _fields(type_meta)}
    api_version, kind = named.get(1, ""), named.get(2, "")
    group, _, version = api_version.rpartition("/")
    package = group.split(".")[0] or "core"
    if kind in ("DeleteOptions", "CreateOptions", "PatchOptions", "UpdateOptions"):
        package, version = "meta", "v1"
    return {"apiVersion": api_version, "kind": kind} | _message(f"{package}.{version}.{kind}", raw)


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and raw value of each field of a message."""
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            value: int | bytes
            if wire == _VARINT:
                value, at = _varint(data, at)
            elif wire == _BYTES:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
                value, at = data[at : at + size], at + size
            else:
                raise bad_request(f"invalid protobuf: wire type {wire}")
            if at > len(data):
                raise bad_request("invalid protobuf: it ends within a field")
            yield number, wire, value
    except IndexError:
        raise bad_request("invalid protobuf: it ends within a number") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise bad_request("invalid protobuf: a number where bytes are expected")
    return value


def _message(type_: str, data: bytes) -> Json:
    return _read(type_, _numbers(type_), data)


def _read(type_: str, known: dict[int, Field], data: bytes) -> Json:
    found: Json = {}
    for number, wire, value in _fields(data):
        field = known.get(number)
        if field is None:
            raise bad_request(
                f"this server cannot read field {number} of {type_} from protobuf: send JSON"
            )
        if field.inlined is not None:
            found |= _read(type_, field.inlined, _bytes(value))
        elif field.type.startswith("["):
            item_type = field.type[1:-1]
            items = _unpacked(value) if wire == _BYTES and item_type == "integer" else [value]
            found.setdefault(field.name, []).extend(_value(item_type, item) for item in items)
        elif field.type.startswith("{"):
            key, inner = _entry(field.type[1:-1], _bytes(value))
            found.setdefault(field.name, {})[key] = inner
        else:
            decoded = _value(field.type, value)
            # Go writes fields that are not pointers even when they are zero; JSON omits those.
            if decoded or field.keeps_zero or decoded == {}:
                found[field.name] = decoded
    return found


def _unpacked(value: int | bytes) -> list[int | bytes]:
    """A packed list of numbers."""
    data = _bytes(value)
    numbers: list[int | bytes] = []
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _entry(type_: str, data: bytes) -> tuple[str, Any]:
    """One entry of a map: key is field 1, value field 2."""
    parts = {number: value for number, _, value in _fields(data)}
    return _bytes(parts.get(1, b"")).decode(), _value(type_, parts.get(2, b""))


def _value(type_: str, value: int | bytes) -> Any:  # noqa: PLR0911 - a table of types
    match type_:
        case "string":
            return _bytes(value).decode()
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "boolean":
            return bool(value)
        case "integer":
            return _signed(value)
        case "quantity":
            return _bytes(_part(value, 1, b"")).decode()
        case "int-or-string":
            return _int_or_string(value)
        case "time" | "micro-time":
            return _time(value, micro=type_ != "time")
        case "fields":
            return msgspec.json.decode(_bytes(_part(value, 1, b"{}")))
        case _:
            return _message(type_, _bytes(value))


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise bad_request("invalid protobuf: bytes where a number is expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _part(value: int | bytes, wanted: int, default: int | bytes) -> int | bytes:
    return {number: inner for number, _, inner in _fields(_bytes(value))}.get(wanted, default)


def _int_or_string(value: int | bytes) -> int | str:
    """intstr.IntOrString: type 0 is a number, 1 is text."""
    if _part(value, 1, 0):
        return _bytes(_part(value, 3, b"")).decode()
    return _signed(_part(value, 2, 0))


def _time(value: int | bytes, *, micro: bool) -> str:
    """RFC 3339; an empty message is the zero time, which JSON omits."""
    if not value:
        return ""
    seconds, nanos = _signed(_part(value, 1, 0)), _signed(_part(value, 2, 0))
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    fraction = f".{nanos // 1000:06d}" if micro else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


@cache
def _table() -> dict[str, Json]:
    text = resources.files(__package__).joinpath("numbers.yaml").read_text()
    table: dict[str, Json] = yaml.load(text, yaml.CSafeLoader)
    return table


@cache
def _numbers(type_: str) -> dict[int, Field]:
    given = _table().get(type_)
    if given is None:
        raise bad_request(f"this server cannot read {type_} from protobuf: send JSON")
    shape = {name.rstrip("!"): inner for name, inner in shapes().get(type_, {}).items()}
    return _numbered(given, shape)


def _numbered(given: Json, shape: dict[str, str]) -> dict[int, Field]:
    found = {}
    for name, told in given.items():
        if isinstance(told, dict):
            found[int(str(name).lstrip("+"))] = Field("", "", inlined=_numbered(told, shape))
            continue
        number, _, type_ = str(told).partition(" ")
        plain = str(name).rstrip("?")
        keeps = plain != name
        micro = plain in ("eventTime", "lastObservedTime", "acquireTime", "renewTime")
        found[int(number)] = Field(
            plain, "micro-time" if micro else type_ or shape[plain], keeps_zero=keeps
        )
    return found

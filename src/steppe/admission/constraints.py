"""What one value of a custom resource must be: JSON Schema, in the API server's words.

Patterns are taken for Python's dialect; rules in CEL are for `rules` to judge.
"""

import ipaddress
import json
import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from steppe.admission.model import FieldError, Json
from steppe.admission.validate.fields import Errors

_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_NAMES = {type_: name for name, types in _TYPES.items() for type_ in types}
_NAMES[int] = "integer"
_FORMATS: dict[str, Callable[[str], Any]] = {
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
    "date-time": datetime.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


def check(errors: Errors, schema: Json, value: Any, where: str) -> bool:
    """Check a value, not what is below it; whether it is worth looking further."""
    if not _type_fits(schema, value):
        found = "null" if value is None else _NAMES.get(type(value), "object")
        wanted = schema.get("type", "integer or string")
        message = f'{where} in body must be of type {wanted}: "{found}"'
        errors.found.append(
            FieldError(where, "FieldValueTypeInvalid", f'Invalid value: "{found}": {message}')
        )
        return False
    if "enum" in schema and value not in schema["enum"]:
        errors.unsupported(where, value, map(_plain, schema["enum"]))
    if isinstance(value, str):
        _text(errors, schema, value, where)
    elif isinstance(value, dict):
        _object(errors, schema, value, where)
    elif isinstance(value, list):
        _list(errors, schema, value, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _number(errors, schema, value, where)
    _combined(errors, schema, value, where)
    return True


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type_fits(schema: Json, value: Any) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    type_ = schema.get("type")
    if not type_:
        return True
    if isinstance(value, bool) and type_ != "boolean":
        return False
    if type_ == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(type_, (object,)))


def _text(errors: Errors, schema: Json, value: str, where: str) -> None:
    if len(value) < schema.get("minLength", 0):
        errors.invalid(
            where, value, f"{where} in body should be at least {schema['minLength']} chars long"
        )
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        errors.too_long(where, schema["maxLength"])
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern, value):
        errors.invalid(where, value, f"{where} in body should match '{pattern}'")
    parse = _FORMATS.get(schema.get("format", ""))
    if parse is not None:
        try:
            parse(value)
        except ValueError:
            detail = f"{where} in body must be of type {schema['format']}: {json.dumps(value)}"
            errors.invalid(where, value, detail)


def _number(errors: Errors, schema: Json, value: float, where: str) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        errors.invalid(where, value, f"{where} in body should be {than} {low:g}")
    if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        errors.invalid(where, value, f"{where} in body should be {than} {high:g}")
    step = schema.get("multipleOf")
    if step and value % step:
        errors.invalid(where, value, f"{where} in body should be a multiple of {step:g}")


def _object(errors: Errors, schema: Json, value: Json, where: str) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            errors.required(f"{where}.{name}" if where else name)
    _counted(errors, schema, value, where, "Properties")


def _counted(errors: Errors, schema: Json, value: Json | list[Any], where: str, what: str) -> None:
    """Whether a value has as many Properties or Items as the schema asks for."""
    for bound, word, breaks in (("min", "least", operator.lt), ("max", "most", operator.gt)):
        number = schema.get(f"{bound}{what}")
        if number is not None and breaks(len(value), number):
            detail = f"{where} in body should have at {word} {number} {what.lower()}"
            errors.invalid(where, value, detail)


def _list(errors: Errors, schema: Json, value: list[Any], where: str) -> None:
    _counted(errors, schema, value, where, "Items")
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen = set()
    for index, item in enumerate(value):
        key = {k: item.get(k) for k in keys} if kind == "map" and isinstance(item, dict) else item
        text = json.dumps(key, sort_keys=True)
        if text in seen:
            errors.duplicate(f"{where}[{index}]", key)
        seen.add(text)


def _fits(schema: Json, value: Any) -> bool:
    """Whether a value meets one alternative of allOf, anyOf, oneOf or not, at any depth."""
    trial = Errors()
    if not check(trial, schema, value, "") or trial.found:
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return all(_fits(known[name], item) for name, item in value.items() if name in known)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        return all(_fits(items, item) for item in value)
    return True


def _combined(errors: Errors, schema: Json, value: Any, where: str) -> None:
    at = f'"{where}" must'
    for part in schema.get("allOf", ()):
        if not _fits(part, value):
            errors.invalid(where, value, f"{at} validate all the schemas (allOf)")
    if "anyOf" in schema and not any(_fits(part, value) for part in schema["anyOf"]):
        errors.invalid(where, value, f"{at} validate at least one schema (anyOf)")
    if "oneOf" in schema:
        count = sum(_fits(part, value) for part in schema["oneOf"])
        if count != 1:
            found = "Found none valid" if not count else f"Found {count} valid alternatives"
            errors.invalid(where, value, f"{at} validate one and only one schema (oneOf). {found}")
    if "not" in schema and _fits(schema["not"], value):
        errors.invalid(where, value, f"{at} not validate the schema (not)")

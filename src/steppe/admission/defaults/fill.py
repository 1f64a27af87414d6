"""Filling a field that is absent or, as Go cannot tell the difference, an empty string."""

from typing import Any

from steppe.admission.model import Json


def fill(obj: Json, **values: Any) -> None:
    """Set each field that has no value yet."""
    for name, value in values.items():
        if obj.get(name) in (None, ""):
            obj[name] = value

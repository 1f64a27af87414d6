"""A structural schema of a CustomResourceDefinition, made ready to prune, default and look up.

What the values must be is decided in `constraints` and `rules`.
"""

import copy
from collections.abc import Iterator
from typing import Any

from steppe.admission.constraints import check
from steppe.admission.model import ATOMIC, GRANULAR, SET, Json, Structure
from steppe.admission.rules import broken
from steppe.admission.validate.fields import Errors

_META = frozenset(("apiVersion", "kind", "metadata"))
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


class Structural:
    """One node of a schema."""

    def __init__(self, schema: Json) -> None:
        self.schema = schema
        self.preserve = schema.get(_PRESERVE) is True
        self.embedded = schema.get("x-kubernetes-embedded-resource") is True
        self.nullable = schema.get("nullable") is True
        self.properties = {n: Structural(s) for n, s in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        # `additionalProperties: true` admits anything, and so does an empty schema.
        more = {_PRESERVE: True} if more in (True, {}) else more
        self.additional = Structural(more) if more else None
        items = schema.get("items")
        self.items = Structural(items) if isinstance(items, dict) else None
        self.defaulted = tuple(n for n, s in self.properties.items() if "default" in s.schema)

    def child(self, name: str) -> "Structural | None":
        known = self.properties.get(name)
        return known if known is not None else self.additional

    def pruned(self, value: Any, where: str, unknown: list[str], *, root: bool = False) -> Any:
        """A copy of a value without fields that the schema does not name."""
        if isinstance(value, list) and self.items is not None:
            return [
                self.items.pruned(item, f"{where}[{index}]", unknown)
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return copy.deepcopy(value)
        out: Json = {}
        for name, item in value.items():
            child, at = self.child(name), f"{where}.{name}" if where else name
            if (root or self.embedded) and name in _META:
                out[name] = copy.deepcopy(item)
            elif child is not None:
                # "nulls for fields that either don't have the nullable flag … will be pruned
                # before defaulting happens."
                if not (item is None and not child.nullable and "default" in child.schema):
                    out[name] = child.pruned(item, at, unknown)
            elif self.preserve:
                out[name] = copy.deepcopy(item)
            else:
                unknown.append(at)
        return out

    def fill(self, value: Any) -> None:
        """Give absent fields their defaults, in place."""
        if isinstance(value, dict):
            for name in self.defaulted:
                if name not in value:
                    value[name] = copy.deepcopy(self.properties[name].schema["default"])
            for name, item in value.items():
                child = self.child(name)
                if child is not None:
                    child.fill(item)
        elif isinstance(value, list) and self.items is not None:
            for item in value:
                self.items.fill(item)

    def validate(self, errors: Errors, value: Any, where: str = "") -> None:
        """Check a pruned and defaulted value, and all below it."""
        if value is None and self.nullable:
            return
        if not check(errors, self.schema, value, where):
            return
        for child, item, at in self._below(value, where):
            child.validate(errors, item, at)

    def judge(self, errors: Errors, value: Any, where: str = "") -> None:
        """Put a valid value, and all below it, to the rules of the schema."""
        if value is None and self.nullable:
            return
        broken(errors, self.schema, value, where)
        for child, item, at in self._below(value, where):
            child.judge(errors, item, at)

    def _below(self, value: Any, where: str) -> Iterator[tuple["Structural", Any, str]]:
        """The parts of a value that have a schema of their own, and where they are."""
        if isinstance(value, dict):
            for name, item in value.items():
                child = self.child(name)
                if child is not None and not (where == "" and name in _META):
                    yield child, item, f"{where}.{name}" if where else name
        elif isinstance(value, list) and self.items is not None:
            for index, item in enumerate(value):
                yield self.items, item, f"{where}[{index}]"

    def unknown(self, obj: Json) -> list[str]:
        found: list[str] = []
        self.pruned(obj, "", found, root=True)
        return found

    def structure(self, path: tuple[str, ...]) -> Structure:
        node: Structural | None = self
        if path[:1] == ("metadata",):
            return _metadata_structure(path[1:])
        for name in path:
            while node is not None and node.items is not None:
                node = node.items
            node = node.child(name) if node is not None else None
            if node is None:
                return GRANULAR
        return node.own_structure() if node is not None else GRANULAR

    def own_structure(self) -> Structure:
        schema = self.schema
        list_type = schema.get("x-kubernetes-list-type", "atomic")
        if schema.get("type") == "array":
            keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            return {"set": SET, "map": Structure("map", keys, self._key_defaults(keys))}.get(
                list_type, ATOMIC
            )
        if schema.get("x-kubernetes-map-type") == "atomic":
            return ATOMIC
        return GRANULAR if schema.get("type") == "object" or self.preserve else ATOMIC

    def _key_defaults(self, keys: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
        known = self.items.properties if self.items is not None else {}
        return tuple((k, known[k].schema["default"]) for k in keys if "default" in known[k].schema)


def _metadata_structure(path: tuple[str, ...]) -> Structure:
    if path == ("finalizers",):
        return SET
    if path == ("ownerReferences",):
        return Structure("map", ("uid",))
    return GRANULAR if path in ((), ("labels",), ("annotations",)) else ATOMIC

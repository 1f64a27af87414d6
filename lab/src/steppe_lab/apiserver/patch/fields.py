"""Sets of fields, in the form of metav1.FieldsV1: which parts of an object somebody owns.

    {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}}}

A node is in the set if it is empty or holds "."; "f:" names a field, "k:" an item of a keyed
list, "v:" a member of a set. How each list and map is shared is told by `Structure`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds import Structure

Fields = dict[str, Any]
Path = tuple[str, ...]
StructureOf = Callable[[Path], Structure]

_SELF = "."
MISSING = object()


def is_member(node: Fields) -> bool:
    return not node or _SELF in node


def union(left: Fields, right: Fields) -> Fields:
    """Both roots' members; roots themselves are never members."""
    merged = dict(left)
    for name, node in right.items():
        merged[name] = _union_node(merged[name], node) if name in merged else node
    return merged


def _union_node(left: Fields, right: Fields) -> Fields:
    if not left and not right:
        return {}
    merged = union(left, right)
    if is_member(left) or is_member(right):
        merged[_SELF] = {}
    return merged


def difference(left: Fields, right: Fields) -> Fields:
    """What is in `left` and not in `right`."""
    kept: Fields = {}
    for name, node in left.items():
        if name == _SELF:
            continue
        other = right.get(name)
        if other is None:
            kept[name] = node
            continue
        below = difference(node, other)
        if is_member(node) and not is_member(other):
            kept[name] = below | {_SELF: {}} if below else {}
        elif below:
            kept[name] = below
    return kept


def intersection(left: Fields, right: Fields) -> Fields:
    return difference(left, difference(left, right))


def paths(fields: Fields, prefix: str = "") -> Iterator[str]:
    """The members as people write them: .spec.containers[name="web"].image"""
    for name, node in fields.items():
        if name == _SELF:
            continue
        shown = prefix + _shown(name)
        if is_member(node):
            yield shown
        yield from paths(node, shown)


def _shown(name: str) -> str:
    kind, _, value = name.partition(":")
    match kind:
        case "f":
            return f".{value}"
        case "k":
            keys = msgspec.json.decode(value)
            pairs = [f"{key}={msgspec.json.encode(keys[key]).decode()}" for key in sorted(keys)]
            return f"[{','.join(pairs)}]"
        case "v":
            return f"[={value}]"
        case _:
            return f"[{value}]"


def item_name(item: Any, how: Structure) -> str:
    """The element that stands for a list item in a field set."""
    if how.merge == "set":
        return "v:" + msgspec.json.encode(item).decode()
    defaults = dict(how.defaults)
    keys = {key: item.get(key, defaults.get(key)) for key in how.keys}
    known = {key: value for key, value in sorted(keys.items()) if value is not None}
    return "k:" + msgspec.json.encode(known).decode()


def children(value: Any, path: Path, structure: StructureOf) -> dict[str, tuple[Any, Path]] | None:
    """The separately owned parts of a value; None if it has one owner as a whole."""
    if isinstance(value, dict):
        if not value or structure(path).merge == "atomic":
            return None
        return {f"f:{name}": (inner, (*path, name)) for name, inner in value.items()}
    if isinstance(value, list) and value:
        how = structure(path)
        if how.merge == "map" and all(isinstance(item, dict) for item in value):
            return {item_name(item, how): (item, path) for item in value}
        if how.merge == "set":
            return {item_name(item, how): (item, path) for item in value}
    return None


def fields_of(value: Any, structure: StructureOf, path: Path = ()) -> Fields:
    """Every field that `value` sets."""
    parts = children(value, path, structure)
    if parts is None:
        return {}
    found: Fields = {}
    for name, (inner, inner_path) in parts.items():
        node = fields_of(inner, structure, inner_path)
        found[name] = _with_item(name, node)
    return found


def _with_item(name: str, node: Fields) -> Fields:
    """An item of a keyed list is owned itself, besides what is in it."""
    return node | {_SELF: {}} if node and name.startswith("k:") else node


class Comparison(msgspec.Struct, frozen=True):
    """How an object changed, field by field."""

    changed: Fields
    removed: Fields


def compare(old: Any, new: Any, structure: StructureOf, path: Path = ()) -> Comparison:
    """Fields that are new or have another value, and fields that are gone."""
    before = children(old, path, structure)
    after = children(new, path, structure)
    if before is None or after is None:
        gone = {} if before is None else fields_of(old, structure, path)
        return Comparison(fields_of(new, structure, path), gone)
    changed: Fields = {}
    removed: Fields = {}
    for name, (inner, inner_path) in after.items():
        was, _ = before.get(name, (MISSING, ()))
        if was is MISSING:
            changed[name] = _with_item(name, fields_of(inner, structure, inner_path))
        elif was != inner:
            below = compare(was, inner, structure, inner_path)
            if _splits(inner, inner_path, structure) and _splits(was, inner_path, structure):
                changed |= {name: below.changed} if below.changed else {}
                removed |= {name: below.removed} if below.removed else {}
            else:
                changed[name] = below.changed
                removed |= {name: below.removed} if below.removed else {}
    for name, (inner, inner_path) in before.items():
        if name not in after:
            removed[name] = _with_item(name, fields_of(inner, structure, inner_path))
    return Comparison(changed, removed)


def _splits(value: Any, path: Path, structure: StructureOf) -> bool:
    return children(value, path, structure) is not None


def stripped(obj: Json) -> Json:
    """The object without what nobody can own: its identity and the server's bookkeeping.

    Items of a list are addressed by the list's own path, so an item is never "atomic" here.
    """
    metadata = {
        name: value for name, value in (obj.get("metadata") or {}).items() if name not in _UNOWNED
    }
    rest = {
        name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")
    }
    return rest | ({"metadata": metadata} if metadata else {})


_UNOWNED = frozenset(
    (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "generation",
        "selfLink",
        "managedFields",
    )
)

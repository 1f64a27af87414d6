"""Strategic merge patch: merge patch that knows which lists have keys.

The rules are those of k8s.io/apimachinery's pkg/util/strategicpatch; the keys come from
`kinds.merge_key`. Neither argument is changed.
"""

from collections.abc import Callable
from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.status import bad_request

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"

Path = tuple[str, ...]
MergeKey = Callable[[Path], str | None]


def strategic_merge(original: Json, patch: Json, merge_key: MergeKey) -> Json:
    """`original` with `patch` applied."""
    return _merge_map(original, patch, (), merge_key)


def _merge_map(original: Json, patch: Json, path: Path, merge_key: MergeKey) -> Json:
    match patch.get(_DIRECTIVE):
        case None | "merge":
            pass
        case "replace":
            return _cleaned(patch)
        case "delete":
            return {}
        case other:
            raise bad_request(f"unknown patch directive $patch: {other!r} at {'.'.join(path)}")
    merged = _retained(original, patch)
    for field, removed in _prefixed(patch, _REMOVE):
        if field in merged:
            merged[field] = [item for item in merged[field] or [] if item not in removed]
    for field, value in patch.items():
        if field.startswith("$"):
            continue
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = _merge_value(merged.get(field), value, (*path, field), merge_key)
    for field, order in _prefixed(patch, _ORDER):
        key = merge_key((*path, field))
        if key is not None and isinstance(merged.get(field), list):
            merged[field] = _ordered(merged[field], order, original.get(field) or [], key)
    return merged


def _prefixed(patch: Json, prefix: str) -> list[tuple[str, list[Any]]]:
    found = []
    for name, value in patch.items():
        if name.startswith(prefix):
            if not isinstance(value, list):
                raise bad_request(f"{name} must be a list")
            found.append((name.removeprefix(prefix), value))
    return found


def _retained(original: Json, patch: Json) -> Json:
    """$retainKeys: every field of the live object that is not listed is cleared."""
    keys = patch.get(_RETAIN)
    if keys is None:
        return dict(original)
    if not isinstance(keys, list):
        raise bad_request(f"{_RETAIN} must be a list")
    return {field: value for field, value in original.items() if field in keys}


def _merge_value(original: Any, value: Any, path: Path, merge_key: MergeKey) -> Any:
    if isinstance(value, dict):
        before = original if isinstance(original, dict) else {}
        return _merge_map(before, value, path, merge_key)
    if isinstance(value, list):
        key = merge_key(path)
        if key is None:
            return _without_directives(value)
        items = original if isinstance(original, list) else []
        if key == "":
            return items + [item for item in value if item not in items]
        return _merge_items(items, value, path, merge_key, key)
    return value


def _merge_items(
    original: list[Any], patch: list[Any], path: Path, merge_key: MergeKey, key: str
) -> list[Any]:
    """A list of objects with a key: matched items merge, others are appended."""
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [_without_directives(item) for item in patch if _DIRECTIVE not in item]
    merged = list(original)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(
                f"map: {item!r} does not contain declared merge key: {key} at {'.'.join(path)}"
            )
        places = [place for place, old in enumerate(merged) if _same(old, item, key)]
        if item.get(_DIRECTIVE) == "delete":
            merged = [old for old in merged if not _same(old, item, key)]
        elif places:
            merged[places[0]] = _merge_map(merged[places[0]], item, path, merge_key)
        else:
            merged.append(_merge_map({}, item, path, merge_key))
    return merged


def _same(left: Any, right: Any, key: str) -> bool:
    if key == "":
        return bool(left == right)
    return isinstance(left, dict) and isinstance(right, dict) and left.get(key) == right.get(key)


def _index(items: list[Any], wanted: Any, key: str) -> int:
    for place, item in enumerate(items):
        if _same(item, wanted, key):
            return place
    return -1


def _ordered(merged: list[Any], order: list[Any], server: list[Any], key: str) -> list[Any]:
    """Items named in $setElementOrder in that order; the server's own keep their place among them.

    The merge of two sorted lists of strategicpatch's `mergeSortedSlice`.
    """
    named = sorted(
        (item for item in merged if _index(order, item, key) >= 0),
        key=lambda item: _index(order, item, key),
    )
    unnamed = [item for item in merged if _index(order, item, key) < 0]
    result: list[Any] = []
    while named and unnamed:
        theirs, ours = _index(server, unnamed[0], key), _index(server, named[0], key)
        first = unnamed if 0 <= theirs < ours else named
        result.append(first.pop(0))
    return result + named + unnamed


def _cleaned(patch: Json) -> Json:
    return {
        field: _without_directives(value)
        for field, value in patch.items()
        if not field.startswith("$")
    }


def _without_directives(value: Any) -> Any:
    """A value taken whole from a patch, cleaned of what only steers the merge."""
    if isinstance(value, dict):
        return _cleaned(value)
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value

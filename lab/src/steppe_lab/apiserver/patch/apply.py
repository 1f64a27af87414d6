"""Server-side apply: merge what a manager wants, drop what it no longer wants, refuse conflicts.

The rules are those of sigs.k8s.io/structured-merge-diff: an apply owns exactly the fields it
lists; to change one that another manager owns is a conflict, unless forced.
"""

from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.patch.fields import (
    MISSING,
    Fields,
    Path,
    StructureOf,
    children,
    compare,
    difference,
    fields_of,
    intersection,
    is_member,
    item_name,
    paths,
    stripped,
    union,
)
from steppe_lab.apiserver.patch.managed import Manager, Owners, entries_of, owners_of
from steppe_lab.apiserver.status import StatusError


def applied(
    live: Json, wanted: Json, manager: Manager, structure: StructureOf, *, force: bool, now: str
) -> Json:
    """`live` after `manager` applied `wanted`; 409 if that takes fields from others."""
    before = live["metadata"].get("managedFields")
    owners = owners_of(before)
    wanted_fields = fields_of(stripped(wanted), structure)
    given_up = difference(owners.get(manager, {}), wanted_fields)
    others: Fields = {}
    for other, fields in owners.items():
        if other != manager:
            others = union(others, fields)
    laid = _merge(live, wanted, (), structure)
    merged: Json = _pruned(laid, given_up, union(others, wanted_fields), (), structure)
    changed = compare(stripped(live), stripped(merged), structure).changed
    conflicts = _conflicts(owners, manager, intersection(changed, wanted_fields))
    if conflicts and not force:
        raise conflict(conflicts)
    gone = compare(stripped(live), stripped(merged), structure).removed
    after: Owners = {
        other: difference(difference(fields, conflicts.get(other, {})), gone)
        for other, fields in owners.items()
    }
    after[manager] = wanted_fields
    metadata = dict(merged["metadata"])
    metadata["managedFields"] = entries_of(after, before, now)
    merged["metadata"] = metadata
    return merged


def _conflicts(owners: Owners, manager: Manager, changed: Fields) -> Owners:
    found = {
        other: intersection(fields, changed) for other, fields in owners.items() if other != manager
    }
    return {other: fields for other, fields in found.items() if fields}


def conflict(conflicts: Owners) -> StatusError:
    causes = []
    told = []
    for other, fields in conflicts.items():
        who = f'conflict with "{other.name}"'
        if other.subresource:
            who += f' with subresource "{other.subresource}"'
        if other.operation == "Update":
            who += f" using {other.api_version}"
        where = sorted(paths(fields))
        told.append(f"{who}: {', '.join(where)}" if len(where) == 1 else _listed(who, where))
        causes += [
            {"reason": "FieldManagerConflict", "message": who, "field": path} for path in where
        ]
    plural = "conflict" if len(causes) == 1 else "conflicts"
    message = f"Apply failed with {len(causes)} {plural}: {'; '.join(told)}"
    return StatusError(409, "Conflict", message, {"causes": causes})


def _listed(who: str, where: list[str]) -> str:
    return f"{who}:\n- " + "\n- ".join(where)


def _merge(live: Any, wanted: Any, path: Path, structure: StructureOf) -> Any:
    """`wanted` laid over `live`, as far as the two share structure."""
    how = structure(path).merge
    if isinstance(live, dict) and isinstance(wanted, dict) and how != "atomic":
        merged = dict(live)
        for name, value in wanted.items():
            merged[name] = _merge(live.get(name, MISSING), value, (*path, name), structure)
        return merged
    if isinstance(live, list) and isinstance(wanted, list) and how in ("map", "set"):
        return _merge_items(live, wanted, path, structure)
    return wanted


def _merge_items(live: list[Any], wanted: list[Any], path: Path, structure: StructureOf) -> Any:
    """Items that only the live object has stay where they are; new ones follow in their order."""
    how = structure(path)
    if how.merge == "map" and not all(isinstance(item, dict) for item in live + wanted):
        return wanted
    by_name = {item_name(item, how): item for item in wanted}
    merged = []
    for item in live:
        ours = by_name.pop(item_name(item, how), MISSING)
        merged.append(item if ours is MISSING else _merge(item, ours, path, structure))
    return merged + list(by_name.values())


def _pruned(value: Any, given_up: Fields, kept: Fields, path: Path, structure: StructureOf) -> Any:
    """`value` without the fields in `given_up` that nobody in `kept` owns."""
    parts = children(value, path, structure)
    if parts is None or not given_up:
        return value
    remaining = {}
    for name, (inner, inner_path) in parts.items():
        node = given_up.get(name)
        if node is None:
            remaining[name] = inner
        elif is_member(node) and name not in kept:
            continue
        else:
            left = _pruned(inner, node, kept.get(name, {}), inner_path, structure)
            if left not in ({}, []) or inner == left or name in kept:
                remaining[name] = left
    if isinstance(value, dict):
        return {name.removeprefix("f:"): inner for name, inner in remaining.items()}
    return list(remaining.values())

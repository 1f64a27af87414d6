"""metadata.managedFields: who set which field, kept true through every write.

An update takes the fields it changes from all other managers; an apply (see apply.py) owns
exactly what it lists. Entries whose fields did not change keep their time, so that a write
without effect stays without effect.
"""

from typing import Any, Literal

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.patch.fields import (
    Comparison,
    Fields,
    StructureOf,
    compare,
    difference,
    stripped,
    union,
)


class Manager(msgspec.Struct, frozen=True):
    """Who writes: one entry of managedFields belongs to each distinct one."""

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str = ""


Owners = dict[Manager, Fields]


def owners_of(entries: Any) -> Owners:
    """The entries as sets; malformed ones are dropped, as after a reset."""
    found: Owners = {}
    for entry in entries or []:
        fields = entry.get("fieldsV1")
        if not isinstance(fields, dict) or entry.get("operation") not in ("Apply", "Update"):
            continue
        manager = Manager(
            entry.get("manager", ""),
            entry["operation"],
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found[manager] = fields
    return found


def entries_of(owners: Owners, before: Any, now: str) -> list[Json]:
    """ManagedFields with the time of each entry's last change."""
    times = {
        manager: entry.get("time", now)
        for entry in before or []
        for manager, fields in owners_of([entry]).items()
        if owners.get(manager) == fields
    }
    entries = []
    for manager, fields in owners.items():
        if not fields:
            continue
        entry: Json = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": times.get(manager, now),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def updated(owners: Owners, manager: Manager, comparison: Comparison) -> Owners:
    """Ownership after a plain write: what changed is the writer's, what is gone is nobody's."""
    after: Owners = {}
    for other, fields in owners.items():
        kept = difference(fields, comparison.removed)
        after[other] = kept if other == manager else difference(kept, comparison.changed)
    after[manager] = union(after.get(manager, {}), comparison.changed)
    return after


def track_update(old: Json, new: Json, manager: Manager, structure: StructureOf, now: str) -> None:
    """Bring `new`'s managedFields up to date with how it differs from `old`."""
    before = old["metadata"].get("managedFields") if old else None
    given = new["metadata"].get("managedFields") or before
    # A list with one empty entry is how a client asks to forget all owners.
    owners = owners_of(given)
    comparison = compare(stripped(old), stripped(new), structure)
    new["metadata"]["managedFields"] = entries_of(updated(owners, manager, comparison), given, now)

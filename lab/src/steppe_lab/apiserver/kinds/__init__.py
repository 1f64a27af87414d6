"""What the API server knows of each kind: shape, defaults, rules, merging, printing.

Everything here is a pure function of objects. Storage, names made from generateName,
resourceVersions, allocation of cluster IPs and node ports, and time belong to the server.
Each function takes built-in kinds and the `CustomKind`s of a CustomResourceDefinition alike.
"""

from steppe.admission import builtin, schema
from steppe.admission.custom import CustomKind, custom_kinds, established
from steppe.admission.model import (
    Admitted,
    Context,
    FieldError,
    Json,
    Kind,
    Structure,
)
from steppe.admission.registry import BUILTIN
from steppe_lab.apiserver.kinds import lists
from steppe_lab.apiserver.kinds.openapi import openapi_v2, openapi_v3
from steppe_lab.apiserver.kinds.printers import table
from steppe_lab.apiserver.kinds.selectable import selectable_fields

__all__ = [
    "BUILTIN",
    "Admitted",
    "Context",
    "CustomKind",
    "FieldError",
    "Json",
    "Kind",
    "Structure",
    "admit_create",
    "admit_update",
    "custom_kinds",
    "established",
    "merge_key",
    "openapi_v2",
    "openapi_v3",
    "selectable_fields",
    "structure",
    "table",
    "unknown_fields",
]


def admit_create(kind: Kind, obj: Json, context: Context) -> Admitted:
    """The object decoded and defaulted, its errors, and warnings for the client."""
    if isinstance(kind, CustomKind):
        return kind.admit_create(obj)
    return builtin.create(kind, obj, context)


def admit_update(kind: Kind, old: Json, new: Json, subresource: str, context: Context) -> Admitted:
    """As `admit_create`; only the named subresource ("": the object itself) may change."""
    if isinstance(kind, CustomKind):
        return kind.admit_update(old, new, subresource)
    return builtin.update(kind, old, new, subresource, context)


def unknown_fields(kind: Kind, obj: Json) -> list[str]:
    """What strict field validation complains of, in the API server's words."""
    if isinstance(kind, CustomKind):
        unknown = kind.compiled.unknown(obj)
    else:
        unknown = schema.decode(kind, obj)[1].unknown
    return [f'unknown field "{field}"' for field in unknown]


def merge_key(kind: Kind, path: tuple[str, ...]) -> str | None:
    """Strategic merge: the key of the list at a path, "" for a set of scalars, None for atomic.

    Custom resources know no strategic merge patch.
    """
    return None if isinstance(kind, CustomKind) else lists.merge_key(kind, path)


def structure(kind: Kind, path: tuple[str, ...]) -> Structure:
    """Server-side apply: how the value at a path of field names (no indices) is owned."""
    if isinstance(kind, CustomKind):
        return kind.compiled.structure(path)
    return lists.structure(kind, path)

"""What the API server knows of each kind: shape, defaults, rules, merging, printing.

Everything here is a pure function of objects. Storage, names made from generateName,
resourceVersions, allocation of cluster IPs and node ports, and time belong to the server.
"""

from datetime import datetime

from steppe.apiserver.kinds.model import (
    Admitted,
    Context,
    FieldError,
    Json,
    Kind,
    Structure,
)
from steppe.apiserver.kinds.registry import BUILTIN

__all__ = [
    "BUILTIN",
    "Admitted",
    "Context",
    "FieldError",
    "Json",
    "Kind",
    "Structure",
    "admit_create",
    "admit_update",
    "merge_key",
    "openapi_v2",
    "openapi_v3",
    "selectable_fields",
    "structure",
    "table",
    "unknown_fields",
]


def admit_create(kind: Kind, obj: Json, context: Context) -> Admitted:
    return Admitted(obj, [], [])


def admit_update(kind: Kind, old: Json, new: Json, subresource: str, context: Context) -> Admitted:
    return Admitted(new, [], [])


def unknown_fields(kind: Kind, obj: Json) -> list[str]:
    return []


def merge_key(kind: Kind, path: tuple[str, ...]) -> str | None:
    return None


def structure(kind: Kind, path: tuple[str, ...]) -> Structure:
    return Structure("granular")


def selectable_fields(kind: Kind, obj: Json) -> dict[str, str]:
    meta = obj.get("metadata", {})
    return {
        "metadata.name": meta.get("name", ""),
        "metadata.namespace": meta.get("namespace", ""),
    }


def table(kind: Kind, objs: list[Json], now: datetime) -> Json:
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
        ],
        "rows": [{"cells": [obj["metadata"]["name"]]} for obj in objs],
    }


def openapi_v3(group: str, version: str, kinds: tuple[Kind, ...]) -> Json:
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": {}}


def openapi_v2(kinds: tuple[Kind, ...]) -> Json:
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}, "paths": {}}

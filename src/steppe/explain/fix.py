"""A change as whole objects, for `kubectl apply`."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from steppe.explain.model import Change
from steppe.kube.cause import ObjectRef

Json = dict[str, Any]

_SERVERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
"""Metadata that the API server writes: applying it would conflict or have no effect."""


def changed_objects(objects: Mapping[ObjectRef, Json], change: Change) -> dict[ObjectRef, Json]:
    """The objects of a change after it; `objects` has the existing ones."""
    found: dict[ObjectRef, Json] = {}
    for patch in change.patches:
        if not patch.path:
            found[patch.object] = deepcopy(patch.value)
            continue
        if patch.object not in found:
            found[patch.object] = deepcopy(objects[patch.object])
        _add(found[patch.object], patch.path, deepcopy(patch.value))
    return found


def to_apply(document: Json) -> Json:
    """An object without the fields that the API server writes."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in _SERVERS}
    return {k: v for k, v in document.items() if k != "status"} | {"metadata": metadata}


def _add(document: Any, path: str, value: Any) -> None:
    """The operation "add" of RFC 6902, with a pointer as in RFC 6901."""
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if not isinstance(document, list):
        document[last] = value
    else:
        # "the "-" character … to index the end of the array" (RFC 6902, section 4.1)
        document.insert(len(document) if last == "-" else int(last), value)

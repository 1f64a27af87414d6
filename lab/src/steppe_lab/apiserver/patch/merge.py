"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from typing import Any

import jsonpatch

from steppe_lab.apiserver.kinds.model import Json
from steppe_lab.apiserver.status import StatusError, bad_request


def merge_patch(original: Json, patch: Json) -> Json:
    """RFC 7386: null removes a member, objects merge, everything else replaces."""
    merged = dict(original)
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, dict):
            before = merged.get(field)
            merged[field] = merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            merged[field] = value
    return merged


def json_patch(original: Json, operations: Any) -> Json:
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    try:
        patched = jsonpatch.apply_patch(original, operations)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"invalid JSON patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        # A patch that is well formed but does not fit the object is 422, as in Kubernetes.
        message = f"the server rejected our request due to an error in our request: {error}"
        raise StatusError(422, "Invalid", message, {}) from error
    if not isinstance(patched, dict):
        raise bad_request("the patch leaves something that is not an object")
    return patched

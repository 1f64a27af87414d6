"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

import copy
from typing import Any

import jsonpatch
import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.status import StatusError, bad_request

# kube-apiserver's own limits (pkg/endpoints/handlers/patch.go: maxJSONPatchOperations; and
# evanphx/json-patch's AccumulatedCopySizeLimit, set to the largest request's size): 30 operations
# that each double a value would make it a thousand million times as large.
MOST_OPERATIONS = 10_000
MOST_COPIED = 3 * 1024 * 1024


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


def _applied(document: Any, operations: list[Json]) -> Any:
    copied = 0
    for operation in operations:
        copied += _copied(operation, document)
        if copied > MOST_COPIED:
            message = f"the copies of a JSON patch are larger than {MOST_COPIED} bytes"
            raise StatusError(413, "RequestEntityTooLarge", message)
        document = jsonpatch.apply_patch(document, [operation], in_place=True)
    return document


def _copied(operation: Json, document: Any) -> int:
    """Bytes by which a `copy` may make the document larger; 0 for other operations."""
    source = operation.get("from")
    if operation["op"] != "copy" or not isinstance(source, str):
        return 0
    return len(msgspec.json.encode(jsonpatch.JsonPointer(source).resolve(document)))


def json_patch(original: Json, operations: Any) -> Json:
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    if len(operations) > MOST_OPERATIONS:
        message = (
            f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, "
            f"got {len(operations)}"
        )
        raise StatusError(413, "RequestEntityTooLarge", message)
    try:
        jsonpatch.JsonPatch(operations)  # refuses what is no operation before any is applied
        patched = _applied(copy.deepcopy(original), operations)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"invalid JSON patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        # A patch that is well formed but does not fit the object is 422, as in Kubernetes.
        message = f"the server rejected our request due to an error in our request: {error}"
        raise StatusError(422, "Invalid", message, {}) from error
    if not isinstance(patched, dict):
        raise bad_request("the patch leaves something that is not an object")
    return patched

"""The four forms of PATCH, told apart by their media type."""

from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds import CustomKind, Kind
from steppe_lab.apiserver.patch.merge import json_patch, merge_patch
from steppe_lab.apiserver.patch.strategic import strategic_merge
from steppe_lab.apiserver.status import bad_request, unsupported_media_type

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def patched(kind: Kind, *, original: Json, body: Any, media_type: str) -> Json:
    """`original` after the patch; neither is changed."""
    if media_type == JSON_PATCH:
        return json_patch(original, body)
    if not isinstance(body, dict):
        raise bad_request("the patch must be an object")
    if media_type == MERGE_PATCH:
        return merge_patch(original, body)
    custom = isinstance(kind, CustomKind)
    # Custom resources have no strategic merge: clients fall back to merge patch.
    if media_type == STRATEGIC_PATCH and not custom:
        return strategic_merge(original, body, lambda path: kinds.merge_key(kind, path))
    supported = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH] + ([] if custom else [STRATEGIC_PATCH])
    raise unsupported_media_type(media_type, ", ".join(supported))

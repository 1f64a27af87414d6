"""The paths of the OpenAPI documents: what may be asked of each resource, and how.

Schemas come from `kinds`; a path is what this server serves. kubectl reads from PATCH whether
the server validates fields (`fieldValidation`) and runs dry (`dryRun`) for a kind.
"""

from steppe.admission.model import Json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds import Kind

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


def document_v2_protobuf() -> bytes:
    """A version 2 document that knows no kinds, for clients that read it as protobuf only.

    kubectl before 1.27 (Debian 12 has 1.20) does. It skips the validation of kinds that it finds
    no schema of, and merges by the types that are built into it; the server validates all the same.
    """
    # gnostic's openapi.v2.Document: swagger = 1, info = 2 (title = 1, version = 2), paths = 8.
    info = _field(1, b"Kubernetes") + _field(2, b"unversioned")
    return _field(1, b"2.0") + _field(2, info) + _field(8, b"")


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field, shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


def document_v3(group: str, version: str, served: tuple[Kind, ...]) -> Json:
    """One group version's schemas and paths."""
    document = kinds.openapi_v3(group, version, served)
    paths: Json = {}
    for kind in served:
        collection = _collection_path(kind)
        paths[collection] = _collection_operations(kind)
        paths[f"{collection}/{{name}}"] = _object_operations(kind)
    return document | {"paths": paths | document.get("paths", {})}


def _collection_path(kind: Kind) -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{root}{inside}/{kind.plural}"


def _operation(kind: Kind, action: str, *query: str) -> Json:
    return {
        "tags": [f"{kind.group or 'core'}_{kind.version}"],
        "operationId": f"{action}{kind.group or 'Core'}{kind.version}{kind.kind}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in query
        ],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
        },
    }


def _collection_operations(kind: Kind) -> Json:
    selectors = ("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch")
    return {
        "get": _operation(kind, "list", *selectors),
        "post": _operation(kind, "post", *_WRITE_PARAMETERS),
        "delete": _operation(kind, "deletecollection", "labelSelector", "fieldSelector", "dryRun"),
    }


def _object_operations(kind: Kind) -> Json:
    patch = _operation(kind, "patch", *_WRITE_PARAMETERS, "force")
    patch["requestBody"] = {
        "content": {media_type: {"schema": {"type": "object"}} for media_type in _PATCH_TYPES}
    }
    return {
        "get": _operation(kind, "get"),
        "put": _operation(kind, "put", *_WRITE_PARAMETERS),
        "patch": patch,
        "delete": _operation(kind, "delete", "dryRun", "gracePeriodSeconds", "propagationPolicy"),
    }

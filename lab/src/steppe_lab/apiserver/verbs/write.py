"""create and update: what the server itself decides about an object before it is stored.

Fields and values are the business of `kinds`; here are names, identity, versions, generation,
and the separation of spec from status.
"""

import random
import uuid
from functools import partial
from typing import Literal

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.kinds import FieldError, Kind
from steppe_lab.apiserver.negotiation import decode_object
from steppe_lab.apiserver.patch.managed import Manager, track_update
from steppe_lab.apiserver.registry import storage_name
from steppe_lab.apiserver.status import (
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
    stale,
)
from steppe_lab.apiserver.store import Record
from steppe_lab.apiserver.verbs.read import viewer

# Names made from generateName avoid vowels and digits that look like letters, as Kubernetes does.
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_GENERATED_BASE = 58

# Core kinds other than these never had a generation.
_CORE_WITH_GENERATION = frozenset(("Pod", "ReplicationController"))

# metadata that belongs to the server: what a client sends there is replaced.
_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)

# A kubelet registers its node with the status it has; others start without one.
_STATUS_AT_CREATION = frozenset(("nodes",))

Outcome = tuple[Record, tuple[str, ...]]
"""The object as stored (or as it would be), and warnings."""


class Checked(msgspec.Struct, frozen=True):
    """A body that names the right kind and place, and warnings about it."""

    object: Json
    warnings: tuple[str, ...]


def checked_body(call: Call, obj: Json) -> Checked:
    """Kind, name and namespace as the URL says, and no field that the kind does not have."""
    target = call.target
    kind = target.kind
    given = (obj.setdefault("apiVersion", kind.api_version), obj.setdefault("kind", kind.kind))
    if given[0] != kind.api_version:
        raise bad_request(
            f"the API version in the data ({given[0]}) does not match "
            f"the expected API version ({kind.api_version})"
        )
    if given[1] != kind.kind:
        raise bad_request(
            f"{kind.kind} in version {kind.version!r} cannot be handled as a {given[1]}: "
            "the kind in the data does not match the URL"
        )
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if metadata.get("namespace") and metadata["namespace"] != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if target.namespace:
        metadata["namespace"] = target.namespace
    else:
        metadata.pop("namespace", None)
    return Checked(obj, _field_warnings(call, obj))


def _field_warnings(call: Call, obj: Json) -> tuple[str, ...]:
    """Unknown fields: an error when Strict, a warning when Warn, and dropped in any case."""
    strictness = call.query.get("fieldValidation") or "Warn"
    if strictness not in ("Strict", "Warn", "Ignore"):
        raise bad_request(f"invalid fieldValidation {strictness!r}: Strict, Warn or Ignore")
    unknown = kinds.unknown_fields(call.target.kind, obj)
    if unknown and strictness == "Strict":
        version = call.target.kind.version
        raise bad_request(
            f"{call.target.kind.kind} in version {version!r} cannot be handled as a "
            f"{call.target.kind.kind}: strict decoding error: {', '.join(unknown)}"
        )
    return tuple(unknown) if strictness == "Warn" else ()


def create(api: Api, call: Call) -> Reply:
    if call.target.name:
        raise method_not_allowed(call.target.kind, "create")
    obj = decode_object(call.body, call.content_type)
    record, warnings = create_object(api, call, obj)
    return respond(api, call, record, warnings, 201)


def update(api: Api, call: Call) -> Reply:
    target = call.target
    current = api.find(target.kind, target.namespace, target.name)
    obj = decode_object(call.body, call.content_type)
    record, warnings = update_object(api, call, current, obj)
    return respond(api, call, record, warnings, 200)


def respond(api: Api, call: Call, record: Record, warnings: tuple[str, ...], code: int) -> Reply:
    body = viewer(api, call).one(record)
    return Reply(body, code, call.form.media_type, warnings)


def create_object(api: Api, call: Call, obj: Json, managed: list[Json] | None = None) -> Outcome:
    """Store a new object; `managed` says who owns its fields, by default the caller."""
    kind = call.target.kind
    body = checked_body(call, obj)
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    _identify(api, kind, metadata)
    _require_namespace(api, kind, metadata)
    if "status" in kind.subresources and kind.plural not in _STATUS_AT_CREATION:
        obj.pop("status", None)
    admitted = kinds.admit_create(kind, obj, api.context)
    errors = list(admitted.errors)
    if errors:
        raise invalid(kind, metadata["name"], errors)
    obj = admitted.object
    key = (metadata.get("namespace", ""), metadata["name"])
    if key in api.collection(kind).records:
        raise already_exists(kind, metadata["name"])
    behaviour = api.behaviour(kind)
    errors = behaviour.before_create(obj)
    if errors:
        raise invalid(kind, metadata["name"], errors)
    blank: Json = {"metadata": {}}
    if "status" in obj and kind.plural not in _STATUS_AT_CREATION:
        # The first status is the server's, not the creator's.
        blank["status"] = obj["status"]
    _own_fields(api, call, blank, obj, managed)
    warnings = body.warnings + tuple(admitted.warnings)
    if call.dry_run:
        return _unstored(obj), warnings
    record = api.store.put(storage_name(kind), obj)
    behaviour.stored(record)
    return record, warnings


def _own_fields(api: Api, call: Call, old: Json, new: Json, managed: list[Json] | None) -> None:
    if managed is not None:
        new["metadata"]["managedFields"] = managed
        return
    kind = call.target.kind
    # Scale is a view: its writes are recorded as writes of the object under the subresource.
    manager = Manager(call.field_manager, "Update", kind.api_version, call.target.subresource)
    track_update(old, new, manager, partial(kinds.structure, kind), api.now())


def _identify(api: Api, kind: Kind, metadata: Json) -> None:
    """Name, uid and creation time; the name may be completed from generateName."""
    if not metadata.get("name"):
        base = metadata.get("generateName")
        if not base:
            error = FieldError(
                "metadata.name",
                "FieldValueRequired",
                "Required value: name or generateName is required",
            )
            raise invalid(kind, "", [error])
        suffix = "".join(random.choices(_SUFFIX_LETTERS, k=5))  # noqa: S311 - a name, no secret
        metadata["name"] = str(base)[:_LONGEST_GENERATED_BASE] + suffix
    for field in _SERVER_METADATA:
        metadata.pop(field, None)
    metadata.pop("selfLink", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = api.now()
    if has_generation(kind):
        metadata["generation"] = 1


def has_generation(kind: Kind) -> bool:
    if kind.group:
        return kind.group not in ("coordination.k8s.io", "events.k8s.io")
    return kind.kind in _CORE_WITH_GENERATION


def _require_namespace(api: Api, kind: Kind, metadata: Json) -> None:
    """The namespace must exist, and not be on its way out."""
    if not kind.namespaced:
        return
    name = metadata.get("namespace", "")
    namespace = api.store.get("namespaces", "", name)
    if namespace is None:
        namespaces = api.registry.find("", "v1", "namespaces")
        raise not_found(namespaces or kind, name)
    if "deletionTimestamp" in namespace.object["metadata"]:
        why = f"unable to create new content in namespace {name} because it is being terminated"
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
        raise forbidden(kind, metadata["name"], why, [cause])


def _unstored(obj: Json) -> Record:
    """What a dry run would have stored."""
    revision = int(obj["metadata"].get("resourceVersion") or 0)
    return Record(revision, obj, msgspec.json.encode(obj))


def update_object(
    api: Api, call: Call, current: Record, obj: Json, managed: list[Json] | None = None
) -> Outcome:
    """Bring `current` to `obj`, as far as the (sub)resource that is written may change it."""
    kind = call.target.kind
    subresource: Literal["", "status"] = "status" if call.target.subresource == "status" else ""
    body = checked_body(call, obj)
    check_preconditions(kind, current, obj["metadata"])
    new = _merged_with_current(kind, current, obj, call.target.subresource)
    admitted = kinds.admit_update(kind, current.object, new, subresource, api.context)
    errors = list(admitted.errors)
    if errors:
        raise invalid(kind, call.target.name, errors)
    record = replace(api, call, current, admitted.object, managed)
    return record, body.warnings + tuple(admitted.warnings)


def check_preconditions(kind: Kind, current: Record, metadata: Json) -> None:
    """Optimistic concurrency: the version and uid that the writer believes in must be true."""
    name = current.key[1]
    if metadata.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"  # noqa: E501
        )
    version = metadata.get("resourceVersion")
    if version and version != str(current.revision):
        raise stale(kind, name)
    uid = metadata.get("uid")
    actual = current.object["metadata"]["uid"]
    if uid and uid != actual:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise conflict(kind, name, why)


def _merged_with_current(kind: Kind, current: Record, obj: Json, subresource: str) -> Json:
    """The new object: the writer's, except for what belongs to the server or to status."""
    old = current.object
    if subresource == "status":
        new = current.copy()
        new["status"] = obj.get("status", {})
        return new
    if subresource == "finalize":
        new = current.copy()
        new["spec"] = obj.get("spec") or {}
        return new
    new = dict(obj)
    new["metadata"] = metadata = dict(obj["metadata"])
    metadata["name"] = old["metadata"]["name"]
    for field in (*_SERVER_METADATA, "generateName"):
        metadata.pop(field, None)
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
    metadata["resourceVersion"] = str(current.revision)
    if "status" in kind.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def replace(
    api: Api, call: Call, current: Record, new: Json, managed: list[Json] | None = None
) -> Record:
    """Store `new` over `current`: nothing if they are equal, a removal if nothing holds it."""
    kind = call.target.kind
    behaviour = api.behaviour(kind)
    errors = behaviour.before_update(current.object, new)
    if errors:
        raise invalid(kind, current.key[1], errors)
    new["metadata"]["resourceVersion"] = str(current.revision)
    if new != current.object or managed is not None:
        _own_fields(api, call, current.object, new, managed)
    if new == current.object:
        return current
    if has_generation(kind) and _desired(kind, new) != _desired(kind, current.object):
        new["metadata"]["generation"] = new["metadata"].get("generation", 0) + 1
    if call.dry_run:
        return _unstored(new)
    if _may_go(api, kind, new):
        return remove(api, kind, new)
    record = api.store.put(storage_name(kind), new)
    behaviour.stored(record)
    return record


def _desired(kind: Kind, obj: Json) -> Json:
    """What a user asks for, the part whose changes `generation` counts."""
    ignored = ("metadata", "status") if "status" in kind.subresources else ("metadata",)
    return {field: value for field, value in obj.items() if field not in ignored}


def _may_go(api: Api, kind: Kind, obj: Json) -> bool:
    """A terminating object goes with its last finalizer, unless its grace still runs."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not api.behaviour(kind).holds(obj)
    )


def remove(api: Api, kind: Kind, obj: Json) -> Record:
    record = api.store.remove(storage_name(kind), obj)
    api.behaviour(kind).removed(record)
    return record

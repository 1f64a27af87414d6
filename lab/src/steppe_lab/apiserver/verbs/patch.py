"""patch: compute the new object, then go the way of an update; apply may also create."""

from functools import partial

import msgspec

from steppe.admission.model import Json
from steppe.document_limits import TooDeepError, check_json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.kinds import FieldError, Kind
from steppe_lab.apiserver.negotiation import BODY_LIMIT, decode_json, decode_yaml
from steppe_lab.apiserver.patch import APPLY_PATCH, patched
from steppe_lab.apiserver.patch.apply import applied
from steppe_lab.apiserver.patch.fields import fields_of, stripped
from steppe_lab.apiserver.patch.managed import Manager, entries_of
from steppe_lab.apiserver.status import bad_request, invalid, not_found, too_large
from steppe_lab.apiserver.verbs.write import create_object, respond, update_object

_PATCH_OPTIONS = Kind("meta.k8s.io", "v1", "PatchOptions", "", "", namespaced=False)


def patch(api: Api, call: Call) -> Reply:
    target = call.target
    media_type = call.content_type.partition(";")[0].strip()
    if media_type == APPLY_PATCH:
        return apply(api, call)
    current = api.find(target.kind, target.namespace, target.name)
    new = patched(
        target.kind,
        original=current.copy(),
        body=patch_body(call.body),
        media_type=media_type,
    )
    record, warnings = update_object(api, call, current, bounded(new))
    return respond(api, call, record, warnings, 200)


def bounded(patched: Json) -> Json:
    """What a patch has made: no larger or deeper than what may be sent as a whole."""
    raw = msgspec.json.encode(patched)
    if len(raw) > BODY_LIMIT:
        raise too_large(BODY_LIMIT)
    try:
        check_json(raw)
    except TooDeepError as error:
        raise bad_request(f"the patched object cannot be stored: {error}") from error
    return patched


def patch_body(body: bytes) -> object:
    try:
        return decode_json(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error


def apply(api: Api, call: Call) -> Reply:
    """Server-side apply: what is not there yet is created."""
    target = call.target
    wanted = _wanted(call)
    manager = Manager(
        call.query["fieldManager"], "Apply", target.kind.api_version, target.subresource
    )
    structure = partial(kinds.structure, target.kind)
    current = api.collection(target.kind).records.get((target.namespace, target.name))
    if current is None:
        if target.subresource:
            raise not_found(target.kind, target.name)
        owners = {manager: fields_of(stripped(wanted), structure)}
        managed = entries_of(owners, [], api.now())
        record, warnings = create_object(api, call, wanted, managed)
        return respond(api, call, record, warnings, 201)
    current = api.find(target.kind, target.namespace, target.name)
    new = applied(
        current.copy(), wanted, manager, structure, force=call.flag("force"), now=api.now()
    )
    managed = bounded(new)["metadata"]["managedFields"]
    record, warnings = update_object(api, call, current, new, managed)
    return respond(api, call, record, warnings, 200)


def _wanted(call: Call) -> Json:
    """The applied configuration, cut to the part of the object that the URL addresses."""
    if not call.query.get("fieldManager"):
        error = FieldError(
            "fieldManager", "FieldValueRequired", "Required value: is required for apply patch"
        )
        raise invalid(_PATCH_OPTIONS, "", [error])
    wanted = decode_yaml(call.body)
    if not isinstance(wanted, dict):
        raise bad_request("the applied configuration must be an object")
    if wanted.get("apiVersion") != call.target.kind.api_version:
        raise bad_request(
            f"the applied configuration must have apiVersion {call.target.kind.api_version}"
        )
    metadata = wanted.setdefault("metadata", {})
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    name = metadata.setdefault("name", call.target.name)
    if name != call.target.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL "
            f"({call.target.name})"
        )
    if call.target.subresource == "status":
        return {field: wanted[field] for field in wanted if field != "spec"}
    if "status" in call.target.kind.subresources:
        wanted.pop("status", None)
    return wanted

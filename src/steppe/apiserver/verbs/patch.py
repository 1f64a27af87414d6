"""patch: compute the new object, then go the way of an update."""

import msgspec

from steppe.apiserver.api import Api, Call, Reply
from steppe.apiserver.patch import patched
from steppe.apiserver.status import bad_request
from steppe.apiserver.verbs.write import respond, update_object
from steppe.apiserver.views import in_version


def patch(api: Api, call: Call) -> Reply:
    target = call.target
    current = api.find(target.kind, target.namespace, target.name)
    media_type = call.content_type.partition(";")[0].strip()
    new = patched(
        target.kind,
        custom=api.registry.is_custom(target.kind),
        original=in_version(target.kind, current).copy(),
        body=patch_body(call.body),
        media_type=media_type,
    )
    record, warnings = update_object(api, call, current, new)
    return respond(api, call, record, warnings, 200)


def patch_body(body: bytes) -> object:
    """The patch as data."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding patch: {error}") from error

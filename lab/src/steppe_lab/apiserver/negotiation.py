"""Which form of an answer a client accepts, and how bodies it sends are read.

Answers are JSON or YAML, which every client accepts; bodies may also be protobuf.
"""

from typing import Literal

import msgspec
import yaml

from steppe.admission.model import Json
from steppe.document_limits import check_json, check_yaml
from steppe_lab.apiserver import protobuf
from steppe_lab.apiserver.status import bad_request, not_acceptable, unsupported_media_type

# etcd refuses requests above 1.5 MiB and kube-apiserver above 3 MiB; CRDs come close to it.
BODY_LIMIT = 3 * 1024 * 1024

JSON = "application/json"
YAML = "application/yaml"
_ANY = frozenset(("*/*", "application/*"))
_SPOKEN = f"{JSON}, {YAML}"


class Form(msgspec.Struct, frozen=True):
    """The form of an answer: its encoding, and whether the object or a view of it."""

    media_type: str = JSON
    view: Literal["", "Table", "PartialObjectMetadata"] = ""
    version: str = "v1"

    @property
    def whole_json(self) -> bool:
        return self.media_type == JSON and not self.view


_WHOLE = Form()


def accepted_form(accept: str) -> Form:
    """The first form in `Accept` that we speak; clients list theirs in order of preference."""
    if not accept:
        return _WHOLE
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        view = options.get("as", "").removesuffix("List")
        if media_type in _ANY:
            return _WHOLE
        if media_type not in (JSON, YAML):
            continue
        if view == "Table":
            return Form(media_type, "Table", options.get("v", "v1"))
        if view == "PartialObjectMetadata":
            return Form(media_type, "PartialObjectMetadata", options.get("v", "v1"))
        if not view:
            return Form(media_type)
    raise not_acceptable(_SPOKEN)


def encode(value: object, media_type: str = JSON) -> bytes:
    if media_type == YAML:
        return yaml.safe_dump(value, sort_keys=True).encode()
    return msgspec.json.encode(value)


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: timestamps stay strings, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
    for first, entries in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decode_yaml(body: bytes) -> object:
    try:
        check_yaml(body)
        return yaml.load(body, _Loader)  # noqa: S506 - a safe loader, minus timestamps
    except (yaml.YAMLError, ValueError) as error:
        raise bad_request(f"error parsing YAML: {error}") from error


def decode_json(body: bytes) -> object:
    """ValueError for what is no JSON, or is nested too deeply."""
    check_json(body)
    return msgspec.json.decode(body)


def decode(body: bytes, content_type: str) -> object:
    media_type = content_type.partition(";")[0].strip()
    if media_type in (YAML, "text/yaml", "application/x-yaml"):
        return decode_yaml(body)
    if media_type == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(body)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"invalid protobuf: {error}") from error
    # Without a Content-Type, Kubernetes assumes its preferred one.
    if media_type in (JSON, "", "application/octet-stream"):
        try:
            return decode_json(body)
        except ValueError as error:
            raise bad_request(f"couldn't decode the body as JSON: {error}") from error
    raise unsupported_media_type(media_type, f"{_SPOKEN}, {protobuf.MEDIA_TYPE}")


def decode_object(body: bytes, content_type: str) -> Json:
    decoded = decode(body, content_type)
    if not isinstance(decoded, dict):
        raise bad_request("the body of the request must be an object")
    return decoded

"""What an API server would say of a document: offline input is checked by the same code.

An object with a fault of a value, a type or a field's name is not taken, as `kubectl apply` does
not take it. What only a container needs (its image, a Job's restartPolicy) may be missing: examples
leave it out, and no answer about the network depends on it.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from steppe.admission import builtin
from steppe.admission.custom import CustomKind, custom_kinds
from steppe.admission.model import FieldError, Kind
from steppe.admission.registry import BUILTIN, UNSERVED
from steppe.admission.schema import Report, decode, fields_of
from steppe.admission.structural import Structural
from steppe.kube.cause import Cause, ObjectRef, Problem

Json = dict[str, Any]

_KINDS = {(kind.group, kind.kind): kind for kind in (*BUILTIN, *UNSERVED)}
_POLICY_API = "policy.networking.k8s.io"
_LEFT_OUT = re.compile(
    r"(^|\.)((containers|initContainers|ephemeralContainers)(\[\d+\](\.\w.*)?)?|restartPolicy"
    r"|volumes.*|schedule|serviceName)$"
)
"""Fields whose absence says nothing about the network."""
_OTHER_DIRECTION = {"from": "to", "to": "from"}
_MOST = 5


class Checked(msgspec.Struct, frozen=True):
    """A document without nulls, and why an API server refuses it."""

    document: Json
    refused: tuple[Problem, ...] = ()


def checked(ref: ObjectRef, document: Json) -> Checked:
    """The document as an API server reads it; unchanged if no kind of this name is known."""
    custom = _policy_kind(document) if ref.group == _POLICY_API else None
    if custom is not None:
        return _checked_custom(custom, ref, document)
    kind = _KINDS.get((ref.group, ref.kind))
    return Checked(document) if kind is None else _checked_builtin(kind, ref, document)


def changed(ref: ObjectRef, old: Json, new: Json) -> tuple[Problem, ...]:
    """What of an object may not change, where an API server has the old one."""
    kind = _KINDS.get((ref.group, ref.kind))
    return () if kind is None else tuple(_problems(ref, builtin.check_update(kind, old, new)))


def _checked_builtin(kind: Kind, ref: ObjectRef, document: Json) -> Checked:
    errors, report = builtin.check(kind, document)
    known = decode(kind, document)[0] if report.nulls else document
    dumped = bool((document.get("metadata") or {}).get("uid"))
    unknown = tuple(_unknown(ref, report, dumped=dumped))
    refused = [error for error in errors if not _is_left_out(error)]
    return Checked(known, (*unknown, *_problems(ref, refused)))


def _is_left_out(error: FieldError) -> bool:
    """Whether all that is wrong is that something is missing which decides nothing here."""
    if error.field.startswith("metadata.ownerReferences["):
        return error.message.endswith("empty")
    return error.reason == "FieldValueRequired" and bool(_LEFT_OUT.search(error.field))


def _problems(ref: ObjectRef, errors: Iterable[FieldError]) -> Iterator[Problem]:
    for error in [*errors][:_MOST]:
        yield Problem(Cause(ref, error.field), _said(error.message))


def _said(message: str) -> str:
    """Go's words for a wrong type as a sentence; what an API server says else is kept."""
    found = re.fullmatch(
        r"json: cannot unmarshal (\w+) into Go struct field \S+ of type (\S+)", message
    )
    if found is None:
        return f"an API server refuses it: {message}"
    wanted = re.sub(r"^(\[\]|map\[string\])", "", found[2])
    name = wanted.rpartition(".")[2]
    whole = found[2].removesuffix(wanted)
    shape = {"[]": "a list", "map[string]": "a mapping"}.get(whole, "") or _TYPES.get(
        name, f"a mapping ({name})"
    )
    cure = "; put it in quotes" if shape == "a text" and found[1] in ("bool", "number") else ""
    return f"an API server refuses it: it is {_FOUND.get(found[1], found[1])}, not {shape}{cure}"


_TYPES = {"string": "a text", "int64": "a number", "bool": "true or false", "float64": "a number"}
_FOUND = _TYPES | {"array": "a list", "object": "a mapping", "number": "a number"}


def _unknown(ref: ObjectRef, report: Report, *, dumped: bool) -> Iterator[Problem]:
    """The fields that no such object has.

    `dumped`: a server had the object, perhaps a newer one: fields that it may have are let pass.
    """
    for path, type_ in [*zip(report.unknown, report.types, strict=True)][:_MOST]:
        name = path.rpartition(".")[2]
        meant = nearest(name, fields_of(type_))
        if path.startswith("status.") or (dumped and not meant):
            continue
        hint = f"; did you mean {meant}?" if meant else ""
        yield Problem(Cause(ref, path), f"there is no such field, so it is not obeyed{hint}")


def nearest(name: str, fields: dict[str, str]) -> str:
    """The field that is meant by a name that is none: one alike, or one that a field has inside."""
    other = _OTHER_DIRECTION.get(name, "")
    if other in fields:
        return other
    folded = {field.lower(): field for field in fields}
    close = get_close_matches(name.lower(), folded, 1, 0.7)
    if close:
        return folded[close[0]]
    inside = [field for field, type_ in fields.items() if name in fields_of(type_.strip("[]{}"))]
    return " or ".join(f"{field}.{name}" for field in inside)


def _checked_custom(kind: CustomKind, ref: ObjectRef, document: Json) -> Checked:
    known = _without_nulls(document)
    unknown = kind.compiled.unknown(known)
    found = kind.admit_create(known)
    told = [
        Problem(Cause(ref, path), f"there is no such field, so it is not obeyed{hint}")
        for path in unknown[:_MOST]
        for hint in [_custom_hint(kind.compiled, path)]
    ]
    return Checked(known, (*told, *_problems(ref, found.errors)))


def _custom_hint(schema: Structural, path: str) -> str:
    """What a field of a custom resource may have meant, by its schema."""
    *above, name = re.sub(r"\[\d+\]", "", path).split(".")
    node: Structural | None = schema
    for part in above:
        node = node.child(part) if node is not None else None
        node = node.items if node is not None and node.items is not None else node
    meant = nearest(name, dict.fromkeys(node.properties, "")) if node is not None else ""
    return f"; did you mean {meant}?" if meant else ""


def _without_nulls(value: Any) -> Any:
    """A copy without fields that are null: "null" is "not set" where a field is not nullable."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _policy_kind(document: Json) -> CustomKind | None:
    version = str(document.get("apiVersion")).rpartition("/")[2]
    return _policy_kinds().get((str(document.get("kind")), version))


@cache
def _policy_kinds() -> dict[tuple[str, str], CustomKind]:
    """The versions of ClusterNetworkPolicy that the policy API's bundle v0.3.0 serves."""
    import yaml

    text = resources.files("steppe.kube.crds").joinpath("clusternetworkpolicies.yaml").read_text()
    return {(kind.kind, kind.version): kind for kind in custom_kinds(yaml.safe_load(text))}

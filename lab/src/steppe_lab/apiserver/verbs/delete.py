"""delete and deletecollection: at once, after a grace period, or when finalizers are gone.

What happens to dependents is the garbage collector's work; here the policy only becomes the
finalizer ("orphan", "foregroundDeletion") that the collector looks for.
"""

import datetime as dt
from typing import Any

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Api, Call, Reply, timestamp
from steppe_lab.apiserver.kinds import Kind
from steppe_lab.apiserver.negotiation import decode_object, encode
from steppe_lab.apiserver.registry import storage_name
from steppe_lab.apiserver.status import bad_request, conflict, success
from steppe_lab.apiserver.store import Record
from steppe_lab.apiserver.verbs.read import list_, selected, viewer
from steppe_lab.apiserver.verbs.write import has_generation, remove

_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}
# Kubernetes answers these deletions with the object, the others with a Status.
_RETURNED = frozenset(("pods", "services", "serviceaccounts", "namespaces", "nodes"))
_DEFAULT_GRACE = 30
# A hundred years; int64 seconds from now is no date.
_LONGEST_GRACE = 3_153_600_000


class Options(msgspec.Struct, frozen=True):
    """The part of metav1.DeleteOptions that decides."""

    grace: int | None = None
    uid: str = ""
    revision: str = ""
    policy: str = ""
    dry_run: bool = False


def options_of(call: Call) -> Options:
    return parse_options(
        decode_object(call.body, call.content_type) if call.body.strip() else {}, call
    )


def parse_options(body: Json, call: Call) -> Options:
    """From a DeleteOptions object, or else from the query."""
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", call.number("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or call.query.get("propagationPolicy", "")
    orphan = body.get("orphanDependents")
    if not policy and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if policy not in ("", "Orphan", "Foreground", "Background"):
        raise bad_request(f"invalid propagationPolicy {policy!r}")
    if grace is not None and not isinstance(grace, int):
        raise bad_request("gracePeriodSeconds must be a number")
    return Options(
        grace,
        str(preconditions.get("uid") or ""),
        str(preconditions.get("resourceVersion") or ""),
        policy,
        call.dry_run or body.get("dryRun") == ["All"],
    )


def delete(api: Api, call: Call) -> Reply:
    kind = call.target.kind
    current = api.find(kind, call.target.namespace, call.target.name)
    options = options_of(call)
    record = delete_object(api, kind, current, options)
    gone = options.dry_run or record.key not in api.collection(kind).records
    if gone and storage_name(kind) not in _RETURNED:
        status = success(kind, call.target.name, record.object["metadata"]["uid"])
        return Reply(encode(status, call.form.media_type), media_type=call.form.media_type)
    return Reply(viewer(api, call).one(record), media_type=call.form.media_type)


def delete_collection(api: Api, call: Call) -> Reply:
    """Delete what the selectors match, and answer with the list of it."""
    kind = call.target.kind
    options = options_of(call)
    reply = list_(api, call)
    for record in list(selected(api.collection(kind).records, api.selection(call))):
        delete_object(api, kind, record, options)
    return reply


def delete_object(api: Api, kind: Kind, current: Record, options: Options) -> Record:
    """Remove the object, or mark it as terminating; its last state either way."""
    _check(kind, current, options)
    obj = current.copy()
    metadata = obj["metadata"]
    finalizers = _finalizers(metadata, options.policy)
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
    grace = _grace(kind, obj, options)
    held = bool(finalizers) or api.behaviour(kind).holds(obj)
    if options.dry_run:
        return current
    if not grace and not held:
        return remove(api, kind, obj)
    if not _terminate(api, kind, obj, grace) and finalizers == (
        current.object["metadata"].get("finalizers") or []
    ):
        return current
    record = api.store.put(storage_name(kind), obj)
    api.behaviour(kind).stored(record)
    return record


def _check(kind: Kind, current: Record, options: Options) -> None:
    name = current.key[1]
    uid = current.object["metadata"]["uid"]
    if options.uid and options.uid != uid:
        raise conflict(
            kind,
            name,
            f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {uid}",
        )
    if options.revision and options.revision != str(current.revision):
        raise conflict(
            kind,
            name,
            "Precondition failed: ResourceVersion in precondition: "
            f"{options.revision}, ResourceVersion in object meta: {current.revision}",
        )


def _finalizers(metadata: Json, policy: str) -> list[str]:
    """An explicit policy replaces whatever policy the finalizers expressed before."""
    finalizers: list[str] = list(metadata.get("finalizers") or [])
    if not policy:
        return finalizers
    kept = [name for name in finalizers if name not in _FINALIZERS.values()]
    return kept + ([_FINALIZERS[policy]] if policy in _FINALIZERS else [])


def _grace(kind: Kind, obj: Json, options: Options) -> int:
    """Only pods are given time, and only those that a kubelet runs (podStrategy.CheckGracefulDelete)."""  # noqa: E501
    if storage_name(kind) != "pods":
        return 0
    spec: Json = obj.get("spec") or {}
    grace = options.grace
    if grace is None:
        asked: Any = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
        grace = int(asked)
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in (
        "Succeeded",
        "Failed",
    ):
        return 0
    # "A negative value is treated as 1."
    return 1 if grace < 0 else min(grace, _LONGEST_GRACE)


def _terminate(api: Api, kind: Kind, obj: Json, grace: int) -> bool:
    """Mark the object; a second deletion may shorten the time that is left, never prolong it."""
    metadata = obj["metadata"]
    if "deletionTimestamp" in metadata:
        left = metadata.get("deletionGracePeriodSeconds") or 0
        if grace >= left:
            return False
    elif has_generation(kind):
        metadata["generation"] = metadata.get("generation", 0) + 1
    metadata["deletionTimestamp"] = timestamp(api.clock() + dt.timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    api.behaviour(kind).before_terminating(obj)
    return True

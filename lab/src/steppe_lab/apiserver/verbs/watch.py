"""watch: the changes of a resource as they happen, one JSON document a line.

A watch holds a position in the collection's log and nothing else, so a slow client costs no
memory: one that falls out of the log's window is told 410 and lists again.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Api, Call
from steppe_lab.apiserver.selectors import Selection
from steppe_lab.apiserver.status import StatusError, bad_request, expired
from steppe_lab.apiserver.store import Change, Collection, Record
from steppe_lab.apiserver.verbs.read import asked_revision, selected, viewer
from steppe_lab.apiserver.views import Viewer

# kube-apiserver ends watches without timeoutSeconds after 30 to 60 minutes (--min-request-timeout).
_SHORTEST_DEFAULT = 1800
_BOOKMARK_SECONDS = 60.0
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Start(msgspec.Struct, frozen=True):
    """Where a watch begins: objects it is shown as ADDED first, then a place in the log."""

    existing: tuple[Record, ...]
    position: int
    announce_end: bool


def event(kind: str, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), raw)


def error_event(fault: StatusError) -> bytes:
    return event("ERROR", msgspec.json.encode(fault.status()))


def start_of(api: Api, call: Call, selection: Selection) -> Start:
    """Begin at the version asked for; without one (or with "0"), show what exists first."""
    collection = api.collection(call.target.kind)
    text = call.query.get("resourceVersion", "")
    initial = call.flag("sendInitialEvents")
    if initial and call.query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request("sendInitialEvents requires resourceVersionMatch=NotOlderThan")
    revision = asked_revision(api, call)
    if initial or text in ("", "0"):
        # sendInitialEvents=false with no version: begin with what happens next.
        wanted = initial or "sendInitialEvents" not in call.query
        existing = list(selected(collection.records, selection)) if wanted else []
        return Start(tuple(existing), collection.log.end, initial)
    position = collection.log.after(revision)
    if position is None:
        raise expired(f"too old resource version: {revision} ({collection.log.floor})")
    return Start((), position, announce_end=False)


def lines(changes: Iterable[Change], selection: Selection, view: Viewer) -> Iterable[bytes]:
    """The events a selection sees: an object that begins to match is ADDED, that ends, DELETED."""
    for change in changes:
        before = change.previous is not None and selection.matches(change.previous.object)
        after = change.kind != "DELETED" and selection.matches(change.record.object)
        if after:
            yield event("MODIFIED" if before else "ADDED", view.one(change.record))
        elif before:
            yield event("DELETED", view.one(_last_seen(change)))


def _last_seen(change: Change) -> Record:
    """A DELETED event shows the state before the object left, under the new version."""
    if change.kind == "DELETED" or change.previous is None:
        return change.record
    last = change.previous.copy()
    last["metadata"]["resourceVersion"] = str(change.revision)
    return Record(change.revision, last, msgspec.json.encode(last))


def bookmark(api: Api, call: Call, *, initial_end: bool = False) -> bytes:
    kind = call.target.kind
    metadata: Json = {"resourceVersion": str(api.store.revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
    marked: Json = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    if call.form.view == "Table":
        marked = {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": None,
            "rows": [{"cells": [], "object": marked}],
        }
    elif call.form.view == "PartialObjectMetadata":
        marked |= {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return event("BOOKMARK", msgspec.json.encode(marked))


async def events(api: Api, call: Call, closing: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """Chunks of whole lines, until the watch times out, falls behind, or the server closes."""
    selection = api.selection(call)
    view = viewer(api, call)
    call.number("timeoutSeconds", least=0)  # refused now, while that can be a status code
    try:
        start = start_of(api, call, selection)
    except StatusError as fault:
        if fault.code not in (410, 504):
            raise
        # A version that cannot be served, too old or not yet reached, is cured by listing again.
        yield error_event(expired(fault.message))
        return
    shown = [event("ADDED", view.one(record)) for record in start.existing]
    if start.announce_end:
        shown.append(bookmark(api, call, initial_end=True))
    yield b"".join(shown)
    wake = asyncio.Event()
    collection = api.collection(call.target.kind)
    collection.watchers.add(wake)
    try:
        async for chunk in _following(api, call, collection, wake, start.position, closing):
            if isinstance(chunk, bytes):
                yield chunk
            elif found := b"".join(lines(chunk, selection, view)):
                yield found
    finally:
        collection.watchers.discard(wake)


async def _following(  # noqa: PLR0917 - one loop, split from its set-up only
    api: Api,
    call: Call,
    collection: Collection,
    wake: asyncio.Event,
    position: int,
    closing: asyncio.Event,
) -> AsyncGenerator[bytes | list[Change], None]:
    """New changes as they come, bookmarks between them, and a 410 when they were missed."""
    loop = asyncio.get_running_loop()
    asked = call.number("timeoutSeconds", least=0)
    default = _SHORTEST_DEFAULT * (1 + random.random())  # noqa: S311 - spreads load, no secret
    end = loop.time() + (asked or default)
    marks = call.flag("allowWatchBookmarks")
    next_mark = loop.time() + _BOOKMARK_SECONDS
    while not closing.is_set():
        wake.clear()
        changes = collection.log.since(position)
        if changes is None:
            yield error_event(expired("the watch fell behind; list again"))
            return
        if changes:
            position += len(changes)
            yield changes
            continue
        now = loop.time()
        if marks and now >= min(next_mark, end):
            yield bookmark(api, call)
            next_mark = now + _BOOKMARK_SECONDS
        if now >= end:
            return
        await _woken(wake, min(end, next_mark) if marks else end)


async def _woken(wake: asyncio.Event, until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await wake.wait()
    except TimeoutError:
        return

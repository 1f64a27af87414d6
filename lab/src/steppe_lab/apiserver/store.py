"""All objects in memory, each version numbered, with a window of recent changes.

The store decides resourceVersions and what a reader at some version sees. It knows nothing
of kinds: what may be written is decided before `put`. A stored object is never mutated; who
wants to change one takes `Record.copy()`.

    put/remove ──▶ Database (committed) ──▶ Collection.records ──▶ Log ──▶ watchers wake
"""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from operator import attrgetter
from typing import Literal

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.database import Database

# How many changes of one resource a watch may lag behind before it must list again.
WINDOW = 8192

Key = tuple[str, str]
"""Namespace and name."""


class Record(msgspec.Struct, frozen=True, eq=False):
    """One version of an object: decoded for selectors, encoded for answers."""

    revision: int
    object: Json
    raw: bytes

    def copy(self) -> Json:
        """A private copy to change; decoding is faster than deepcopy."""
        copied: Json = msgspec.json.decode(self.raw)
        return copied

    @property
    def key(self) -> Key:
        metadata = self.object["metadata"]
        return metadata.get("namespace", ""), metadata["name"]


class Change(msgspec.Struct, frozen=True, eq=False):
    """One step of history; `previous` lets readers step back over it."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    record: Record
    previous: Record | None

    @property
    def revision(self) -> int:
        return self.record.revision


class Log:
    """The last changes of one resource, addressed by a position that only grows."""

    def __init__(self, floor: int, limit: int = WINDOW) -> None:
        self.floor = floor
        self._limit = limit
        self._dropped = 0
        self._changes: list[Change] = []

    @property
    def end(self) -> int:
        return self._dropped + len(self._changes)

    def append(self, change: Change) -> None:
        self._changes.append(change)
        # Trimmed in slabs, so that the cost of moving the list is spread over many changes.
        if len(self._changes) > self._limit + self._limit // 4:
            excess = len(self._changes) - self._limit
            self.floor = self._changes[excess - 1].revision
            self._dropped += excess
            del self._changes[:excess]

    def after(self, revision: int) -> int | None:
        """The position after `revision`; None if changes since then were dropped."""
        if revision < self.floor:
            return None
        return self._dropped + bisect_right(self._changes, revision, key=attrgetter("revision"))

    def since(self, position: int) -> list[Change] | None:
        """The changes from `position` on; None if some were dropped."""
        if position < self._dropped:
            return None
        return self._changes[position - self._dropped :]


class Collection:
    """All objects of one resource."""

    def __init__(self, floor: int) -> None:
        self.records: dict[Key, Record] = {}
        self.log = Log(floor)
        self.watchers: set[asyncio.Event] = set()

    def publish(self, change: Change) -> None:
        self.log.append(change)
        for watcher in self.watchers:
            watcher.set()

    def at(self, revision: int) -> Mapping[Key, Record] | None:
        """The records as they were at `revision`; None if that is no longer known."""
        position = self.log.after(revision)
        undone = None if position is None else self.log.since(position)
        if undone is None:
            return None
        if not undone:
            return self.records
        records = dict(self.records)
        for change in reversed(undone):
            if change.previous is None:
                records.pop(change.record.key, None)
            else:
                records[change.previous.key] = change.previous
        return records


class Store:
    """Every collection, and the one counter that numbers their changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collections: dict[str, Collection] = {}
        self.revision = database.revision()
        for resource, body in database.objects():
            loaded: Json = msgspec.json.decode(body)
            revision = int(loaded["metadata"]["resourceVersion"])
            record = Record(revision, loaded, bytes(body))
            self.collection(resource).records[record.key] = record

    def collection(self, resource: str) -> Collection:
        """The collection of a resource; versions before it was first used are unknown."""
        found = self._collections.get(resource)
        if found is None:
            found = self._collections[resource] = Collection(self.revision)
        return found

    def get(self, resource: str, namespace: str, name: str) -> Record | None:
        return self.collection(resource).records.get((namespace, name))

    def put(self, resource: str, obj: Json) -> Record:
        """Store `obj`, which the store owns from now on, under the next version."""
        record = self._numbered(obj)
        namespace, name = record.key
        self._database.put(resource, namespace, name, record.revision, record.raw)
        self.revision = record.revision
        collection = self.collection(resource)
        previous = collection.records.get(record.key)
        collection.records[record.key] = record
        kind: Literal["ADDED", "MODIFIED"] = "ADDED" if previous is None else "MODIFIED"
        collection.publish(Change(kind, record, previous))
        return record

    def remove(self, resource: str, obj: Json) -> Record:
        """Drop an object; watchers see `obj`, its last state, under the next version."""
        record = self._numbered(obj)
        namespace, name = record.key
        self._database.delete(resource, namespace, name, record.revision)
        self.revision = record.revision
        collection = self.collection(resource)
        previous = collection.records.pop(record.key, None)
        collection.publish(Change("DELETED", record, previous))
        return record

    def _numbered(self, obj: Json) -> Record:
        revision = self.revision + 1
        obj["metadata"]["resourceVersion"] = str(revision)
        return Record(revision, obj, msgspec.json.encode(obj))

    def wake_all(self) -> None:
        """Let every watcher look around, as when the server closes."""
        for collection in self._collections.values():
            for watcher in collection.watchers:
                watcher.set()

"""A local copy of a watched list, shared by all who read it.

The copy lags behind the server. Two methods keep a controller from repeating an action that it has
just taken: `note` takes in the server's answer to a write before the watch event arrives, and
`mark_deleted` remembers an object that we deleted until the watch reports its deletion.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from steppe.client.client import Client
from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted, WatchStatus, watch
from steppe.client.resources import Resource

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name; the namespace is empty for what belongs to none."""


class Meta(Protocol):
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class HasMeta(Protocol):
    @property
    def metadata(self) -> Meta: ...


T = TypeVar("T", bound=HasMeta)

OnChange = Callable[[T | None, T | None], None]
"""Called with the old and the new object; None for an object that does not exist."""


def key_of(item: HasMeta) -> Key:
    return item.metadata.namespace, item.metadata.name


class Store(Generic[T]):
    """Objects by key, with indexes, and listeners that are called for each change.

    Invariant: after each method returns, every index and every listener has seen the same sequence
    of changes that leads to `items`; an object never goes back to an older resourceVersion of the
    same UID, except by a whole list (`replace`).
    """

    def __init__(self, status: WatchStatus | None = None) -> None:
        self.items: dict[Key, T] = {}
        self.status = status or WatchStatus()
        self._listeners: list[OnChange[T]] = []
        self._indexes: list[Index[T]] = []
        self._marked_deleted: set[str] = set()
        self._seen = 0  # the newest resourceVersion that the watch has delivered

    def get(self, namespace: str, name: str) -> T | None:
        return self.items.get((namespace, name))

    def values(self) -> Iterable[T]:
        return self.items.values()

    def listen(self, listener: OnChange[T]) -> None:
        """Call the listener now for each object in the store, and then for every change."""
        self._listeners.append(listener)
        for item in self.items.values():
            listener(None, item)

    def index(self, keys: Callable[[T], Iterable[object]]) -> "Index[T]":
        """A lookup from each of `keys(item)` to the items; it is kept up to date."""
        index = Index(keys)
        for key, item in self.items.items():
            index.change(key, None, item)
        self._indexes.append(index)
        return index

    def note(self, item: T) -> None:
        """Take in the server's answer to our write, unless the watch has delivered a later one.

        "resource versions … of the same resource type [can be compared] as integers" (KEP-5504)
        """
        if _version(item) > self._seen:
            present = self.items.get(key_of(item))
            if present is None or _version(item) > _version(present):
                self._put(item)

    def mark_deleted(self, item: T) -> None:
        """Remember that we deleted this object; the watch may not have reported it yet."""
        present = self.items.get(key_of(item))
        if present is not None and present.metadata.uid == item.metadata.uid:
            self._marked_deleted.add(item.metadata.uid)

    def is_marked_deleted(self, item: T) -> bool:
        return item.metadata.uid in self._marked_deleted

    def replace(self, items: Iterable[T], unreadable: Iterable[Key] = ()) -> None:
        """Take in a whole list; objects of it that cannot be read keep their last known value."""
        fresh = {key_of(item): item for item in items}
        for key in self.items.keys() - fresh.keys() - set(unreadable):
            self._drop(key)
        self._marked_deleted &= {item.metadata.uid for item in self.items.values()} | {
            item.metadata.uid for item in fresh.values()
        }
        self._seen = 0  # a server restored from a backup counts from an earlier number
        for item in fresh.values():
            self.upsert(item)

    def upsert(self, item: T) -> None:
        self._seen = max(self._seen, _version(item))
        present = self.items.get(key_of(item))
        if (
            present is not None
            and present.metadata.uid == item.metadata.uid
            and _version(present) > _version(item)
        ):
            return  # `note` has taken in a later write of ours
        self._put(item)

    def delete(self, item: T) -> None:
        self._seen = max(self._seen, _version(item))
        present = self.items.get(key_of(item))
        if present is not None and present.metadata.uid == item.metadata.uid:
            self._drop(key_of(item))
        self._marked_deleted.discard(item.metadata.uid)

    def forget(self, key: Key) -> None:
        """Drop a deleted object of which only the name can be read."""
        if key in self.items:
            self._drop(key)

    def _put(self, item: T) -> None:
        key = key_of(item)
        old = self.items.get(key)
        self.items[key] = item
        self._tell(key, old, item)

    def _drop(self, key: Key) -> None:
        self._tell(key, self.items.pop(key), None)

    def _tell(self, key: Key, old: T | None, new: T | None) -> None:
        for index in self._indexes:
            index.change(key, old, new)
        for listener in self._listeners:
            listener(old, new)


class Index(Generic[T]):
    """Items by a value computed from them, such as the node that a pod runs on."""

    def __init__(self, keys: Callable[[T], Iterable[object]]) -> None:
        self._keys = keys
        self._found: defaultdict[object, dict[Key, T]] = defaultdict(dict)

    def __getitem__(self, wanted: object) -> list[T]:
        found = self._found.get(wanted)
        return list(found.values()) if found else []

    def change(self, key: Key, old: T | None, new: T | None) -> None:
        if old is not None:
            for held in self._keys(old):
                members = self._found[held]
                members.pop(key, None)
                if not members:
                    del self._found[held]
        if new is not None:
            for held in self._keys(new):
                self._found[held][key] = new


async def keep(
    store: Store[T],
    client: Client,
    resource: Resource,
    type_: type[T],
    synced: Callable[[], None],
    *,
    namespace: str = "",
    field_selector: str = "",
) -> None:
    """Update a store from a watch until cancelled; `synced` is called after each whole list."""
    events = watch(
        client,
        resource,
        type_,
        namespace=namespace,
        field_selector=field_selector,
        status=store.status,
    )
    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Replaced(items, unreadable):
                    for each in unreadable:
                        _tell_unreadable(resource, each)
                    store.replace(items, ((each.namespace, each.name) for each in unreadable))
                    synced()
                case Upserted(item):
                    store.upsert(item)
                case Deleted(item):
                    store.delete(item)
                case Unreadable(deleted=True):
                    store.forget((event.namespace, event.name))
                case Unreadable():
                    _tell_unreadable(resource, event)


def _tell_unreadable(resource: Resource, event: Unreadable) -> None:
    where = f"{resource.kind}/{event.namespace}/{event.name}"
    log.warning("object %s cannot be read; its last known value stays: %s", where, event.error)


def _version(item: HasMeta) -> int:
    text = item.metadata.resource_version
    return int(text) if text.isdigit() else 0

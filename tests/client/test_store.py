import asyncio
from typing import Any

import msgspec
import pytest

from steppe.client.resources import NODES
from steppe.client.store import Store, keep
from tests.client.fake_api import fake_api, until


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str = "u"
    resource_version: str = "1"
    namespace: str = ""


class Item(msgspec.Struct, frozen=True):
    metadata: Meta
    colour: str = ""


def item(name: str, version: int, uid: str = "u", colour: str = "") -> Item:
    return Item(Meta(name, uid, str(version)), colour)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([("upsert", item("a", 5)), ("note", item("a", 7))], {"a": "7"}),
        # The watch may lag behind our own write …
        ([("note", item("a", 7)), ("upsert", item("a", 5))], {"a": "7"}),
        # … or be ahead of the server's answer to it.
        ([("upsert", item("a", 9)), ("note", item("a", 7))], {"a": "9"}),
        ([("upsert", item("a", 5)), ("delete", item("a", 9)), ("note", item("a", 7))], {}),
        # A name taken again belongs to the newcomer, whose predecessor's end comes late.
        ([("upsert", item("a", 5, "new")), ("delete", item("a", 4, "old"))], {"a": "5"}),
        # A server brought back from a backup counts from an earlier number.
        ([("upsert", item("a", 90)), ("replace", [item("a", 3, "x")])], {"a": "3"}),
        ([("upsert", item("a", 5)), ("replace", [item("b", 6)])], {"b": "6"}),
    ],
)
def test_the_copy_follows_the_newest(steps: list[tuple[str, Any]], left: dict[str, str]) -> None:
    store: Store[Item] = Store()
    for verb, value in steps:
        getattr(store, verb)(value)
    assert {i.metadata.name: i.metadata.resource_version for i in store.values()} == left


def test_indexes_and_listeners_see_every_change() -> None:
    store: Store[Item] = Store()
    store.upsert(item("a", 1, colour="red"))
    colours = store.index(lambda i: (i.colour,))
    heard: list[tuple[str | None, str | None]] = []
    store.listen(lambda old, new: heard.append((old and old.colour, new and new.colour)))
    store.upsert(item("a", 2, colour="blue"))
    store.upsert(item("b", 3, colour="blue"))
    assert [i.metadata.name for i in colours["blue"]] == ["a", "b"]
    assert colours["red"] == []
    store.replace([item("b", 3, colour="blue")])
    assert [i.metadata.name for i in colours["blue"]] == ["b"]
    assert heard[:4] == [(None, "red"), ("red", "blue"), (None, "blue"), ("blue", None)]


def test_a_deleted_object_is_remembered_until_the_watch_reports_it() -> None:
    store: Store[Item] = Store()
    deleted = item("a", 1)
    store.mark_deleted(deleted)
    assert not store.is_marked_deleted(deleted)  # not there any more
    store.upsert(deleted)
    store.mark_deleted(deleted)
    store.upsert(item("a", 2))
    assert store.is_marked_deleted(item("a", 2))
    store.delete(item("a", 3))
    assert not store.is_marked_deleted(item("a", 3))


async def test_an_object_that_cannot_be_read_stays_as_last_known_until_it_is_deleted() -> None:
    """Its prefixes, say, are still taken: to forget it would give them to another."""
    async with fake_api() as (api, client):
        for name in ("a", "b"):
            await api.put(NODES.path(), name)
        store: Store[Item] = Store()
        synced = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(keep(store, client, NODES, Item, synced.set))
            await synced.wait()
            await api.put(NODES.path(), "a", colour=1)
            await api.put(NODES.path(), "b", colour="blue")
            await until(lambda: store.items["", "b"].colour == "blue")
            assert ("", "a") in store.items
            synced.clear()
            await api.error(410, "Expired")
            await synced.wait()
            assert ("", "a") in store.items
            await api.remove(NODES.path(), "a")
            await until(lambda: ("", "a") not in store.items)
            keeping.cancel()

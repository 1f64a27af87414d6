import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from steppe.client import informer
from steppe.client.informer import (
    Deleted,
    Refused,
    Replaced,
    Unreadable,
    Upserted,
    WatchStatus,
    watch,
)
from steppe.client.pages import PAGE
from steppe.client.resources import CLUSTERNETWORKPOLICIES, PODS
from tests.client.fake_api import FakeApi, fake_api, status, until

PATH = "/api/v1/pods"


class Meta(msgspec.Struct, frozen=True):
    name: str


class Thing(msgspec.Struct, frozen=True, weakref=True):
    metadata: Meta
    size: int = 0


@contextlib.asynccontextmanager
async def watching(**options: Any) -> AsyncIterator[tuple[FakeApi, Any, WatchStatus]]:
    async with fake_api() as (api, client):
        api.objects[PATH] = {}
        told = WatchStatus()
        events = watch(client, PODS, Thing, status=told, **options)
        async with contextlib.aclosing(events):
            yield api, lambda: asyncio.wait_for(anext(events), 5), told


async def test_a_watch_gives_the_list_and_then_each_change() -> None:
    async with watching() as (api, following, told):
        await api.put(PATH, "a", size=1)
        assert await following() == Replaced((Thing(Meta("a"), 1),))
        await api.put(PATH, "b", size=2)
        await api.put(PATH, "b", size=3)
        await api.remove(PATH, "a")
        assert await following() == Upserted(Thing(Meta("b"), 2))
        assert await following() == Upserted(Thing(Meta("b"), 3))
        assert await following() == Deleted(Thing(Meta("a"), 1))
        assert told.synced_since is not None
        assert told.relists == 1


async def test_the_status_tells_how_far_the_events_lead() -> None:
    async with watching() as (api, following, told):
        await api.put(PATH, "a")
        await following()
        listed = int(told.version)
        await api.put(PATH, "b")
        await following()
        assert int(told.version) == listed + 1
        await api.remove(PATH, "b")
        await following()
        assert int(told.version) == listed + 2


async def test_a_lost_connection_resumes_from_the_last_bookmark_without_a_new_list() -> None:
    async with watching() as (api, following, told):
        await following()
        await api.put(PATH, "a")
        await following()
        await api.bookmark()
        bookmarked = api.version
        await api.put(PATH, "b")
        await following()
        coming = asyncio.ensure_future(following())
        await api.drop_watches()
        await until(lambda: len(api.watches) == 2)
        await api.put(PATH, "c")
        assert await coming == Upserted(Thing(Meta("c")))
        assert int(api.watches[1]["resourceVersion"]) > bookmarked
        assert len(api.lists) == told.relists == 1


@pytest.mark.parametrize("how", ["status", "event"])
async def test_410_lists_again(how: str) -> None:
    async with watching() as (api, following, told):
        await following()
        await api.put(PATH, "a")
        await following()
        coming = asyncio.ensure_future(following())
        await until(lambda: api.watches)
        if how == "event":
            await api.error(410, "Expired")
        else:
            api.forgotten = api.version + 1
            await api.drop_watches()
            await until(lambda: len(api.watches) == 2)
            api.forgotten = 0
        assert await coming == Replaced((Thing(Meta("a")),))
        assert told.relists == 2


async def test_a_malformed_object_is_reported_and_spoils_nothing() -> None:
    async with watching() as (api, following, _):
        await api.put(PATH, "good", size=1)
        await api.put(PATH, "bad", size="large")
        listed = await following()
        assert listed.items == (Thing(Meta("good"), 1),)
        (broken,) = listed.unreadable
        assert broken.name == "bad"
        assert "size" in broken.error
        await api.put(PATH, "bad", size="larger")
        assert await following() == Unreadable("", "bad", broken.error)
        await api.remove(PATH, "bad")
        gone = await following()
        assert isinstance(gone, Unreadable)
        assert gone.deleted


async def test_lists_come_in_pages() -> None:
    async with watching() as (api, following, _):
        for number in range(2 * PAGE + 1):
            api.objects[PATH][str(number)] = {"metadata": {"name": str(number)}, "size": number}
        replaced = await following()
        assert [thing.size for thing in replaced.items] == list(range(2 * PAGE + 1))
        assert len(api.lists) == 3


async def test_what_stays_of_an_object_is_made_of_it_in_lists_and_events() -> None:
    def doubled(seen: Thing) -> Thing:
        return Thing(seen.metadata, 2 * seen.size)

    async with watching(kept=doubled) as (api, following, _):
        await api.put(PATH, "a", size=1)
        await api.put(PATH, "b", size="odd")
        listed = await following()
        assert listed.items == (Thing(Meta("a"), 2),)
        assert [each.name for each in listed.unreadable] == ["b"]
        await api.put(PATH, "c", size=3)
        assert await following() == Upserted(Thing(Meta("c"), 6))


async def test_a_list_is_let_go_of_while_the_next_event_is_waited_for() -> None:
    async with watching() as (api, following, _):
        await api.put(PATH, "a")
        listed = weakref.ref((await following()).items[0])
        waiting = asyncio.ensure_future(following())
        await until(lambda: listed() is None)
        await api.put(PATH, "b")
        assert isinstance(await waiting, Upserted)


async def test_a_server_that_is_away_is_tried_again_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching() as (api, following, told):
        tries = 0

        def refuse(_: web.Request) -> web.Response | None:
            nonlocal tries
            tries += 1
            return (
                web.json_response(status(500, "InternalError"), status=500) if tries < 3 else None
            )

        api.refuse = refuse
        assert await following() == Replaced(())
        assert tries == 3
        assert told.last_error == ""
        assert caplog.text.count("broken") == 1


@pytest.mark.parametrize("code", [403, 404])
async def test_a_list_that_is_not_to_be_had_is_reported_once_and_asked_for_again(code: int) -> None:
    async with watching() as (api, following, _):
        refusals = [code, code]

        def refuse(_: web.Request) -> web.Response | None:
            return web.json_response(status(refusals.pop(), ""), status=code) if refusals else None

        api.refuse = refuse
        assert await following() == Refused(code)
        assert await following() == Replaced(())


async def test_another_refusal_and_one_after_a_list_are_reported_too() -> None:
    async with watching() as (api, following, _):
        refusals = [403, 403, 404, 0, 404]

        def refuse(_: web.Request) -> web.Response | None:
            code = refusals.pop(0) if refusals else 0
            return web.json_response(status(code, ""), status=code) if code else None

        api.refuse = refuse
        assert await following() == Refused(403)
        assert await following() == Refused(404)
        assert await following() == Replaced(())
        assert await following() == Refused(404)
        assert await following() == Replaced(())


async def test_silence_beyond_the_timeout_counts_as_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer, "SILENCE_MARGIN_SECONDS", 0.1)
    async with watching(watch_seconds=0) as (api, following, _):
        await following()
        coming = asyncio.ensure_future(following())
        await until(lambda: len(api.watches) >= 2)  # the fake never ends a watch by itself
        await api.put(PATH, "a")
        assert await coming == Upserted(Thing(Meta("a")))
        assert len(api.lists) == 1


def test_backoff_grows_and_is_capped() -> None:
    backoff = informer.Backoff(first=1, cap=8)
    delays = [backoff.next() for _ in range(6)]
    assert all(low <= delay <= high for delay, low, high in zip(
        delays, (0.5, 1, 2, 4, 4, 4), (1, 2, 4, 8, 8, 8), strict=True
    ))  # fmt: skip
    backoff.reset()
    assert backoff.next() <= 1


NEWER, OLDER = (version.path() for version in CLUSTERNETWORKPOLICIES.versions)


@contextlib.asynccontextmanager
async def watching_versions(*served: str) -> AsyncIterator[tuple[FakeApi, Any, WatchStatus]]:
    async with fake_api() as (api, client):
        api.objects |= {path: {} for path in served}
        told = WatchStatus()
        events = watch(client, CLUSTERNETWORKPOLICIES, Thing, status=told)
        async with contextlib.aclosing(events):
            yield api, lambda: asyncio.wait_for(anext(events), 5), told


@pytest.mark.parametrize(
    ("served", "followed"), [((NEWER, OLDER), NEWER), ((NEWER,), NEWER), ((OLDER,), OLDER)]
)
async def test_a_kind_is_followed_in_the_newest_version_that_is_served(
    served: tuple[str, ...], followed: str
) -> None:
    async with watching_versions(*served) as (api, following, told):
        assert await following() == Replaced(())
        await api.put(followed, "a", size=1)
        assert await following() == Upserted(Thing(Meta("a"), 1))
        assert api.lists == [followed]
        assert not told.absent


async def test_a_newer_version_is_followed_once_it_is_served() -> None:
    async with watching_versions(OLDER) as (api, following, _):
        await following()
        coming = asyncio.ensure_future(following())
        await until(lambda: api.watches)
        await api.put(NEWER, "a", size=1)
        await api.drop_watches()
        assert await coming == Replaced((Thing(Meta("a"), 1),))
        assert api.lists == [OLDER, NEWER]


async def test_an_older_version_is_followed_where_the_newer_one_goes_away() -> None:
    async with watching_versions(NEWER, OLDER) as (api, following, _):
        await following()
        await api.put(OLDER, "a", size=1)
        coming = asyncio.ensure_future(following())
        await until(lambda: api.watches)
        del api.objects[NEWER]
        await api.error(404, "NotFound")
        seen = [await coming, await following()]
        assert seen == [Refused(404), Replaced((Thing(Meta("a"), 1),))]


async def test_a_kind_without_any_of_its_versions_is_refused() -> None:
    async with watching_versions() as (_, following, told):
        assert await following() == Refused(404)
        coming = asyncio.ensure_future(following())
        await until(lambda: told.absent)
        assert told.synced_since is None
        coming.cancel()
        await asyncio.wait([coming])

import pytest
from aiohttp import web

from steppe.client import events
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import NODES, PODS
from tests.client.fake_api import fake_api, status

NODE = reference(NODES, "node-a", uid="u")
PATH = "/api/v1/namespaces/default/events"


async def test_the_same_thing_said_again_raises_the_count() -> None:
    async with fake_api() as (api, client):
        recorder = EventRecorder(client, "me", "host")
        for _ in range(3):
            recorder.event(NODE, "Warning", "Bad", "it is bad")
        await recorder.flush()
        recorder.event(NODE, "Warning", "Bad", "it is bad")
        await recorder.flush()
        recorder.event(NODE, "Warning", "Bad", "it is worse")
        await recorder.flush()
        told = [(e["message"], e["count"]) for e in api.objects[PATH].values()]
        assert told == [("it is bad", 4), ("it is worse", 1)]
        event = next(iter(api.objects[PATH].values()))
        about = {"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "u"}
        assert event["involvedObject"] == about
        assert event["source"] == {"component": "me", "host": "host"}


async def test_an_event_that_expired_is_written_again() -> None:
    async with fake_api() as (api, client):
        recorder = EventRecorder(client, "me")
        recorder.event(NODE, "Normal", "Ok", "fine")
        await recorder.flush()
        api.objects[PATH].clear()
        recorder.event(NODE, "Normal", "Ok", "fine")
        await recorder.flush()
        assert [e["count"] for e in api.objects[PATH].values()] == [1]


async def test_an_event_steers_no_terminal_and_is_one_line() -> None:
    async with fake_api() as (api, client):
        recorder = EventRecorder(client, "me")
        recorder.event(NODE, "Warning", "Bad", "address '\x1b[2J\n' is not used")
        await recorder.flush()
        told = [e["message"] for e in api.objects[PATH].values()]
        assert told == ["address '\\x1b[2J\\n' is not used"]


async def test_events_about_namespaced_objects_live_beside_them() -> None:
    async with fake_api() as (api, client):
        recorder = EventRecorder(client, "me")
        recorder.event(reference(PODS, "p", "ns", "u"), "Normal", "Ok", "fine")
        await recorder.flush()
        assert len(api.objects["/api/v1/namespaces/ns/events"]) == 1


async def test_what_cannot_be_written_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_WAITING", 2)
    async with fake_api() as (api, client):
        api.refuse = lambda _: web.json_response(status(500, "Down"), status=500)
        recorder = EventRecorder(client, "me")
        for number in range(5):
            recorder.event(NODE, "Normal", "Many", str(number))
        assert recorder.dropped == 3
        await recorder.flush()
        assert recorder.dropped == 5

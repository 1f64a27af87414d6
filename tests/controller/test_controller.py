import asyncio
import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator

import aiohttp
import click
import pytest
from aiohttp import web

from steppe.client.client import Client
from steppe.client.events import EventRecorder
from steppe.client.informer import WatchStatus
from steppe.client.resources import NODES
from steppe.client.store import Store, keep
from steppe.controller.__main__ import ranges_from
from steppe.controller.health import ListenError, Metrics, serve
from steppe.controller.podcidrs import NodeObject, PodCIDRController
from steppe.controller.prefixes import Range
from tests.client.fake_api import FakeApi, fake_api, status, until

PATH = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
RANGES = (
    Range(ipaddress.ip_network("10.0.0.0/22"), 24),
    Range(ipaddress.ip_network("fd00::/62"), 64),
)


@contextlib.asynccontextmanager
async def controlling(client: Client) -> AsyncIterator[None]:
    nodes: Store[NodeObject] = Store()
    events = EventRecorder(client, "test")
    controller = PodCIDRController(client, nodes, RANGES, events, Metrics())
    complete = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(events.run()),
            group.create_task(keep(nodes, client, NODES, NodeObject, complete.set)),
        ]
        await complete.wait()
        tasks.append(group.create_task(controller.run()))
        yield
        for task in tasks:
            task.cancel()


def held(api: FakeApi) -> dict[str, list[str]]:
    return {name: n.get("spec", {}).get("podCIDRs", []) for name, n in api.objects[PATH].items()}


def told(api: FakeApi) -> set[tuple[str, str]]:
    events = api.objects.get(EVENTS, {}).values()
    return {(e["involvedObject"]["name"], e["reason"]) for e in events}


async def test_nodes_without_prefixes_get_some_and_others_keep_theirs() -> None:
    async with fake_api() as (api, client):
        await api.put(PATH, "foreign", spec={"podCIDRs": ["10.0.0.128/25", "fd00::/64"]})
        await api.put(PATH, "early", spec={})
        async with controlling(client):
            await until(lambda: held(api)["early"])
            await api.put(PATH, "late", spec={})
            await until(lambda: held(api)["late"])
        assert held(api) == {
            "foreign": ["10.0.0.128/25", "fd00::/64"],
            "early": ["10.0.1.0/24", "fd00:0:0:1::/64"],
            "late": ["10.0.2.0/24", "fd00:0:0:2::/64"],
        }
        assert api.objects[PATH]["late"]["spec"]["podCIDR"] == "10.0.2.0/24"


async def test_an_exhausted_range_is_reported_and_a_deleted_node_cures_it() -> None:
    async with fake_api() as (api, client):
        for number in range(5):
            await api.put(PATH, f"n{number}", spec={})
        async with controlling(client):
            await until(lambda: told(api))
            await until(lambda: sum(map(bool, held(api).values())) == 4)
            assert told(api) == {("n4", "PodCIDRExhausted")}
            (event,) = api.objects[EVENTS].values()
            assert event["type"] == "Warning"
            await api.remove(PATH, "n1")
            await until(lambda: held(api)["n4"])
        assert held(api)["n4"] == ["10.0.1.0/24", "fd00:0:0:1::/64"]


async def test_who_set_prefixes_first_wins_a_race() -> None:
    contested = f"{PATH}/contested"
    patch = ("PATCH", contested)
    async with fake_api() as (api, client):
        await api.put(PATH, "contested", spec={})
        asked: list[tuple[str, str]] = []

        def rival(request: web.Request) -> web.Response | None:
            asked.append((request.method, request.path))
            if asked[-1] != patch or asked.count(patch) > 1:
                return None
            # Somebody else was quicker; our watch has not heard of it yet.
            api.version += 1
            node = api.objects[PATH]["contested"]
            node["metadata"]["resourceVersion"] = str(api.version)
            node["spec"] = {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}
            return web.json_response(status(409, "Conflict"), status=409)

        api.refuse = rival
        async with controlling(client):
            # It reads what won, for its watch will be told of that only now.
            await until(lambda: ("GET", contested) in asked)
            # A watch tells of changes in their order, so of this one before it tells of `next`.
            won = json.loads(json.dumps(api.objects[PATH]["contested"]))
            api.history.append((api.version, PATH, "MODIFIED", won))
            await api.put(PATH, "next", spec={})
            await until(lambda: held(api)["next"])
        assert asked.count(patch) == 1
        assert held(api)["contested"] == ["10.0.0.0/24", "fd00::/64"]
        assert held(api)["next"] == ["10.0.1.0/24", "fd00:0:0:1::/64"]


async def test_duplicates_and_single_families_become_events_and_stop_nobody() -> None:
    async with fake_api() as (api, client):
        cidrs = {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}
        await api.put(PATH, "old", metadata={"creationTimestamp": "1"}, spec=cidrs)
        await api.put(PATH, "young", metadata={"creationTimestamp": "2"}, spec=cidrs)
        await api.put(PATH, "single", spec={"podCIDR": "10.0.1.0/24"})
        await api.put(PATH, "nonsense", spec={"podCIDRs": 7})
        await api.put(PATH, "fine", spec={})
        async with controlling(client):
            await until(lambda: held(api)["fine"])
            await until(lambda: len(told(api)) == 2)
        assert told(api) == {("young", "PodCIDROverlap"), ("single", "PodCIDRFamilyMissing")}
        assert held(api)["single"] == []


async def test_health_and_metrics_are_served() -> None:
    metrics = Metrics()
    metrics.planned(3, 1, {"IPv4": 7})
    async with (
        serve("127.0.0.1:0", metrics, WatchStatus(), lambda: True) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        async with session.get("/healthz") as answer:
            assert answer.status == 200
            assert "leader: yes" in await answer.text()
        async with session.get("/metrics") as answer:
            text = await answer.text()
    assert 'steppe_controller_pod_cidrs_free{family="IPv4"} 7.0' in text
    assert "steppe_controller_leader 1.0" in text


async def test_a_bad_health_address_is_a_clear_error() -> None:
    with pytest.raises(ListenError, match="ADDRESS:PORT"):
        async with serve("nonsense", Metrics(), WatchStatus(), lambda: True):
            pass


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [
        (("dual", "10.0.0.0/16", 24, "fd00::/56", 64), [4, 6]),
        (("ipv6", "10.0.0.0/16", 24, "fd00::/56", 64), [6]),
        (("dual", "", 24, "fd00::/56", 64), [6]),
    ],
)
def test_flags_name_the_ranges(
    arguments: tuple[str, str, int, str, int], versions: list[int]
) -> None:
    assert [r.version for r in ranges_from(*arguments)] == versions


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dual", "10.0.0.1/16", 24, "", 64), "host bits"),
        (("ipv4", "fd00::/56", 24, "", 64), "is IPv6"),
        (("ipv4", "10.0.0.0/16", 8, "", 64), "no /8 fits"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    arguments: tuple[str, str, int, str, int], words: str
) -> None:
    with pytest.raises(click.BadParameter, match=words):
        ranges_from(*arguments)

import asyncio

import pytest
from aiohttp import web

from steppe.client.client import Client
from steppe.client.leader import Elector, LostLeadershipError, Timing
from tests.client.fake_api import FakeApi, fake_api, status, until

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
QUICK = Timing(lease=1.0, renew=0.5, retry=0.05)


def elector(client: Client, name: str) -> Elector:
    return Elector(client, "it", candidate=name, timing=QUICK)


def holder(api: FakeApi) -> str:
    return str(api.objects[PATH]["it"]["spec"]["holderIdentity"])


async def forever() -> None:
    await asyncio.Event().wait()


async def test_only_one_leads_and_the_next_takes_over_at_once_when_it_ends() -> None:
    async with fake_api() as (api, client):
        api.objects[PATH] = {}
        first, second = elector(client, "first"), elector(client, "second")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(first.run(forever))
            await until(lambda: first.leading)
            waiting = group.create_task(second.run(forever))
            renewals = api.version
            await until(lambda: api.version > renewals + 2)
            assert not second.leading
            running.cancel()
            await until(lambda: second.leading)
            assert holder(api) == "second"
            assert api.objects[PATH]["it"]["spec"]["leaseTransitions"] == 1
            waiting.cancel()


async def test_a_dead_leader_is_succeeded_only_after_its_lease_ran_out() -> None:
    async with fake_api() as (api, client):
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "x"}
        await api.put(PATH, "it", spec=spec)
        candidate = elector(client, "next")
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(candidate.run(forever))
            await until(lambda: candidate.leading)
            assert loop.time() - began >= 1
            task.cancel()


async def test_work_is_cancelled_when_the_lease_cannot_be_renewed() -> None:
    async with fake_api() as (api, client):
        api.objects[PATH] = {}
        cancelled = asyncio.Event()
        leader = elector(client, "me")

        async def work() -> None:
            try:
                api.refuse = lambda _: web.json_response(status(500, "Down"), status=500)
                await forever()
            finally:
                cancelled.set()

        with pytest.raises(LostLeadershipError):
            await asyncio.wait_for(leader.run(work), 5)
        assert cancelled.is_set()
        assert not leader.leading


async def test_work_is_cancelled_when_another_took_the_lease() -> None:
    async with fake_api() as (api, client):
        api.objects[PATH] = {}

        async def work() -> None:
            spec = {"holderIdentity": "thief", "leaseDurationSeconds": 15, "renewTime": "y"}
            await api.put(PATH, "it", spec=spec)
            await forever()

        with pytest.raises(LostLeadershipError):
            await asyncio.wait_for(elector(client, "me").run(work), 5)
        assert holder(api) == "thief"


async def test_of_many_candidates_one_leads() -> None:
    async with fake_api() as (api, client):
        api.objects[PATH] = {}
        everyone = [elector(client, str(number)) for number in range(8)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run(forever)) for one in everyone]
            await until(lambda: any(one.leading for one in everyone))
            renewals = api.version
            await until(lambda: api.version > renewals + 2)
            assert sum(one.leading for one in everyone) == 1
            for task in tasks:
                task.cancel()

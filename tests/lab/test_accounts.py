"""Another API server without a controller manager refuses pods, and the lab says so."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.resources import NAMESPACES, PODS, SERVICEACCOUNTS
from steppe_lab.accounts import refused_pods
from tests.client.fake_api import FakeApi, fake_api, status

NAMES = ("default", "shop")


class Server:
    """An API server whose admission refuses pods in namespaces without the account, or not."""

    def __init__(self, api: FakeApi, client: Client) -> None:
        self.api, self.client = api, client
        self.admission = True
        self.reason = 'serviceaccount "default" not found'
        api.objects |= {NAMESPACES.path(): {}, SERVICEACCOUNTS.path(): {}}
        api.refuse = self._refuse

    async def has(self, namespaces: tuple[str, ...], accounts: dict[str, str]) -> None:
        for name in namespaces:
            await self.api.put(NAMESPACES.path(), name)
        for namespace, name in accounts.items():
            metadata = {"name": name, "namespace": namespace}
            await self.api.put(SERVICEACCOUNTS.path(), name, metadata=metadata)

    def _refuse(self, request: web.Request) -> web.Response | None:
        if request.method != "POST" or not self.admission:
            return None
        assert request.query["dryRun"] == "All"
        return web.json_response(status(403, "Forbidden", self.reason), status=403)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with fake_api() as (api, client):
        yield Server(api, client)


@pytest.mark.parametrize(
    ("accounts", "named"),
    [
        ({}, "in default, shop:"),
        ({"shop": "robot"}, "in default, shop:"),
        ({"shop": "default"}, "in default:"),
    ],
)
async def test_namespaces_in_which_pods_are_refused_are_named_with_the_cure(
    server: Server, accounts: dict[str, str], named: str
) -> None:
    await server.has(NAMES, accounts)
    text = await refused_pods(server.client)
    assert text.startswith("this API server refuses all pods, those of Deployments too")
    assert named in text
    assert 'serviceaccount "default" not found' in text
    assert "kubectl -n default create serviceaccount default" in text


async def test_nothing_is_said_where_no_pod_is_refused(server: Server) -> None:
    await server.has(("default",), {"default": "default"})
    assert await refused_pods(server.client) == ""
    await server.has(NAMES, {})
    server.reason = "the namespace is being terminated"
    assert await refused_pods(server.client) == ""
    server.admission = False
    server.api.objects[PODS.path("shop")] = {}
    assert await refused_pods(server.client) == ""


async def test_what_may_not_be_listed_is_no_reason_to_warn_and_an_error_is_one_to_stop() -> None:
    async with fake_api() as (api, client):
        for code in (403, 500):
            refusal = status(code, "no")
            api.refuse = lambda _, body=refusal, code=code: web.json_response(body, status=code)
            if code == 403:
                assert await refused_pods(client) == ""
            else:
                with pytest.raises(ApiError):
                    await refused_pods(client)

"""A live cluster, read only: what is not there, not allowed, or not understood."""

import pytest
from aiohttp import web

from steppe.client.config import Config
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.snapshot import snapshot
from steppe.manifests.cluster import loaded_from
from tests.client.fake_api import FakeApi, fake_api, status

POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
CILIUM = "/apis/cilium.io/v2/ciliumnetworkpolicies"


def only(api: FakeApi, *paths: str, code: int = 404) -> None:
    """Every other path is refused."""
    api.refuse = lambda request: (
        None if request.path in paths else web.json_response(status(code, "No"), status=code)
    )


async def test_objects_are_what_the_lists_hold_each_with_its_kind() -> None:
    async with fake_api() as (api, _):
        await api.put("/api/v1/pods", "web", status={"phase": "Running", "podIP": "10.0.0.1"})
        await api.put(POLICIES, "p", spec={"podSelector": {}})
        only(api, "/api/v1/pods", POLICIES)
        pages: list[str] = []
        found = await snapshot(Config(api.url), pages.append)
    assert not found.gaps
    loaded = loaded_from(found.manifests)
    assert list(loaded.cluster.pods) == [("default", "web")]
    assert list(loaded.cluster.network_policies) == [("default", "p")]
    assert "1 pods" in pages
    assert {request.method for request in api.requests} == {"GET"}


async def test_what_may_not_be_listed_is_a_gap() -> None:
    async with fake_api() as (api, _):
        only(api, "/api/v1/pods", code=403)
        gaps = (await snapshot(Config(api.url))).gaps
    assert "not allowed to list networkpolicies: they are not in this answer" in gaps
    assert not any(" pods" in gap for gap in gaps)


async def test_policies_of_other_projects_are_a_gap() -> None:
    async with fake_api() as (api, _):
        await api.put(CILIUM, "deny")
        only(api, CILIUM)
        found = await snapshot(Config(api.url))
    (gap,) = loaded_from(found.manifests).gaps
    assert gap.startswith("kind CiliumNetworkPolicy is not understood")


async def test_a_server_that_fails_is_one_error() -> None:
    async with fake_api() as (api, _):
        only(api, code=500)
        with pytest.raises(ApiError):
            await snapshot(Config(api.url))
    with pytest.raises(UnreachableError):
        await snapshot(Config(api.url))

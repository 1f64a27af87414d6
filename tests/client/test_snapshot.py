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


CLUSTER_POLICIES = "/apis/policy.networking.k8s.io/{}/clusternetworkpolicies"
CLUSTER_POLICY = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}


@pytest.mark.parametrize("versions", [("v1alpha2",), ("v1beta1",), ("v1beta1", "v1alpha2")])
async def test_cluster_policies_are_read_once_in_the_version_that_is_served(
    versions: tuple[str, ...],
) -> None:
    paths = [CLUSTER_POLICIES.format(version) for version in versions]
    async with fake_api() as (api, _):
        for path in paths:
            await api.put(path, "c", spec=CLUSTER_POLICY)
        only(api, *paths)
        found = await snapshot(Config(api.url))
    assert [m.content["apiVersion"] for m in found.manifests] == [
        f"policy.networking.k8s.io/{versions[0]}"
    ]
    loaded = loaded_from(found.manifests)
    assert list(loaded.cluster.cluster_policies) == ["c"]
    assert not loaded.problems


async def test_admin_policies_of_a_cluster_are_read() -> None:
    path = "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies"
    spec = {"priority": 5, "subject": {"namespaces": {}}}
    async with fake_api() as (api, _):
        await api.put(path, "a", spec=spec)
        only(api, path)
        found = await snapshot(Config(api.url))
    (policy,) = loaded_from(found.manifests).cluster.cluster_policies.values()
    assert (str(policy.ref), policy.tier, policy.priority) == ("AdminNetworkPolicy/a", "Admin", 5)

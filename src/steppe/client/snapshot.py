"""A live cluster as documents: one list of each kind that decides about traffic, read only.

What the server does not have is simply not there; what it does not let us read, or what only
another project's software understands, becomes a gap in whatever is concluded from the rest.
"""

import asyncio
from collections.abc import Callable

import msgspec

from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.errors import ApiError
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    ENDPOINTSLICES,
    INGRESSES,
    NAMESPACES,
    NETWORKPOLICIES,
    NODES,
    PODS,
    SERVICECIDRS,
    SERVICES,
    Resource,
)
from steppe.errors import SteppeError
from steppe.manifests.documents import Manifest

_UNDERSTOOD = (
    NODES,
    NAMESPACES,
    PODS,
    SERVICES,
    ENDPOINTSLICES,
    NETWORKPOLICIES,
    CLUSTERNETWORKPOLICIES,
    SERVICECIDRS,
)

_STRANGERS = (
    INGRESSES,
    Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway"),
    Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    Resource(
        "policy.networking.k8s.io",
        "v1alpha1",
        "adminnetworkpolicies",
        "AdminNetworkPolicy",
        namespaced=False,
    ),
    Resource(
        "policy.networking.k8s.io",
        "v1alpha1",
        "baselineadminnetworkpolicies",
        "BaselineAdminNetworkPolicy",
        namespaced=False,
    ),
    Resource("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    Resource(
        "cilium.io",
        "v2",
        "ciliumclusterwidenetworkpolicies",
        "CiliumClusterwideNetworkPolicy",
        namespaced=False,
    ),
    Resource("crd.projectcalico.org", "v1", "networkpolicies", "NetworkPolicy"),
    Resource(
        "crd.projectcalico.org",
        "v1",
        "globalnetworkpolicies",
        "GlobalNetworkPolicy",
        namespaced=False,
    ),
    Resource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy"),
)
"""Not understood here, but asked for: that there are some is worth knowing."""


class Snapshot(msgspec.Struct, frozen=True):
    """The objects of a live cluster, and what of it could not be read."""

    manifests: tuple[Manifest, ...]
    gaps: tuple[str, ...]


def _silent(_text: str) -> None:
    """Tells nobody."""


async def snapshot(config: Config, told: Callable[[str], None] = _silent) -> Snapshot:
    """All that decides about traffic in this cluster; `told` hears of every page."""
    lists: dict[Resource, list[Manifest]] = {}
    gaps: list[str] = []

    async def read(resource: Resource) -> None:
        try:
            lists[resource] = await _objects(client, resource, told)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            # A kind that is not installed says nothing; one that we may not see might.
            if error.status == 403:
                gaps.append(f"not allowed to list {resource.plural}: they are not in this answer")

    try:
        async with Client(config) as client, asyncio.TaskGroup() as tasks:
            for resource in (*_UNDERSTOOD, *_STRANGERS):
                tasks.create_task(read(resource))
    except ExceptionGroup as failed:
        ours = failed.subgroup(SteppeError)
        if ours is None:
            raise
        # One sentence is enough where every list fails for the same reason.
        raise ours.exceptions[0] from None
    found = [
        manifest for resource in _UNDERSTOOD + _STRANGERS for manifest in lists.get(resource, ())
    ]
    return Snapshot(tuple(found), tuple(sorted(gaps)))


async def _objects(
    client: Client, resource: Resource, told: Callable[[str], None]
) -> list[Manifest]:
    # "items in a list have no kind and apiVersion of their own" (API conventions: lists)
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    found: list[Manifest] = []
    async for page in client.pages(resource):
        found += (Manifest(msgspec.json.decode(item) | kind) for item in page.items or ())
        told(f"{len(found)} {resource.plural}")
    return found

"""A live cluster as documents: one list of each kind that affects traffic; read only.

A kind that the server does not have has no objects. A kind that we may not read, or that only
another project's software implements, becomes a gap: what the answers do not take into account.
"""

import asyncio
from collections.abc import Callable

import msgspec

from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.errors import ApiError
from steppe.client.resources import (
    ADMINNETWORKPOLICIES,
    BASELINEADMINNETWORKPOLICIES,
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
from steppe.client.versions import newest
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
    ADMINNETWORKPOLICIES,
    BASELINEADMINNETWORKPOLICIES,
    SERVICECIDRS,
)


def _strangers(api_version: str, wide: bool = False, **kinds: str) -> tuple[Resource, ...]:
    group, version = api_version.split("/")
    return tuple(
        Resource(group, version, plural, kind, namespaced=not wide)
        for kind, plural in kinds.items()
    )


_STRANGERS = (
    INGRESSES,
    *_strangers("gateway.networking.k8s.io/v1", Gateway="gateways", HTTPRoute="httproutes"),
    *_strangers("cilium.io/v2", CiliumNetworkPolicy="ciliumnetworkpolicies"),
    *_strangers(
        "cilium.io/v2",
        wide=True,
        CiliumClusterwideNetworkPolicy="ciliumclusterwidenetworkpolicies",
    ),
    *_strangers("crd.projectcalico.org/v1", NetworkPolicy="networkpolicies"),
    *_strangers("crd.projectcalico.org/v1", wide=True, GlobalNetworkPolicy="globalnetworkpolicies"),
    *_strangers("crd.antrea.io/v1beta1", NetworkPolicy="networkpolicies"),
    *_strangers("crd.antrea.io/v1beta1", wide=True, ClusterNetworkPolicy="clusternetworkpolicies"),
    *_strangers(
        "security.istio.io/v1",
        AuthorizationPolicy="authorizationpolicies",
        PeerAuthentication="peerauthentications",
    ),
    *_strangers("networking.istio.io/v1", VirtualService="virtualservices", Sidecar="sidecars"),
    *_strangers("k8s.cni.cncf.io/v1beta1", MultiNetworkPolicy="multi-networkpolicies"),
    *_strangers(
        "k8s.ovn.org/v1", EgressFirewall="egressfirewalls", UserDefinedNetwork="userdefinednetworks"
    ),
    *_strangers(
        "k8s.ovn.org/v1", wide=True, ClusterUserDefinedNetwork="clusteruserdefinednetworks"
    ),
    *_strangers("route.openshift.io/v1", Route="routes"),
)
"""Kinds that Steppe does not implement. They are listed to report that such objects exist."""


class Snapshot(msgspec.Struct, frozen=True):
    """The objects of a live cluster, and sentences about what could not be read."""

    manifests: tuple[Manifest, ...]
    gaps: tuple[str, ...]


def _silent(_text: str) -> None:
    """Ignore the progress."""


async def snapshot(config: Config, progress: Callable[[str], None] = _silent) -> Snapshot:
    """All objects that affect traffic in this cluster; `progress` is called after every page."""
    lists: dict[Resource, list[Manifest]] = {}
    gaps: list[str] = []

    async def read(resource: Resource) -> None:
        try:
            lists[resource] = await _newest(client, resource, progress)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            # 404: the kind is not installed and has no objects. 403: it may have some.
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
        # All lists fail for the same reason, so one error is enough.
        raise ours.exceptions[0] from None
    found = [
        manifest for resource in _UNDERSTOOD + _STRANGERS for manifest in lists.get(resource, ())
    ]
    return Snapshot(tuple(found), tuple(sorted(gaps)))


async def _newest(
    client: Client, resource: Resource, progress: Callable[[str], None]
) -> list[Manifest]:
    """The objects in the newest version that the server has; ApiError 404 if it has none."""
    return await newest(resource, lambda version: _objects(client, version, progress))


async def _objects(
    client: Client, resource: Resource, progress: Callable[[str], None]
) -> list[Manifest]:
    # "items in a list have no kind and apiVersion of their own" (API conventions: lists)
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    found: list[Manifest] = []
    async for page in client.pages(resource):
        found += (
            Manifest(msgspec.json.decode(item) | kind, admitted=True) for item in page.items or ()
        )
        progress(f"{len(found)} {resource.plural}")
    return found

"""nftables as a DataPlane: the elements of each object in the sets and maps of `inet steppe`."""

from collections.abc import Iterable, Iterator

from steppe.dataplane.nft.masquerade import (
    cluster_elements,
    everything_is_inside,
    local_pod_elements,
    stray_pod_elements,
)
from steppe.dataplane.nft.services import (
    frontends_behind,
    hairpin_elements,
    service_claims,
    service_range_elements,
    service_ranges_in,
)
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Workload
from steppe.kube.services import ServiceRange
from steppe.net.address import IPAddress
from steppe.service.table import ServiceTable
from steppe.settings import Settings
from steppe.state.node import NodeClaim

frontends = frontends_behind
service_ranges = service_ranges_in


def own_node(settings: Settings, here: Node) -> Iterator[NodeClaim]:
    if settings.masquerade or settings.services:
        yield from local_pod_elements(here)
        yield from (cluster_elements if settings.masquerade else everything_is_inside)(here)


def other_node(settings: Settings, node: Node) -> Iterator[NodeClaim]:
    if settings.masquerade:
        yield from cluster_elements(node)


def pod(workload: Workload) -> Iterator[NodeClaim]:
    return hairpin_elements(workload)


def pod_outside(
    settings: Settings, workload: Workload, addresses: Iterable[IPAddress]
) -> Iterator[NodeClaim]:
    if settings.masquerade or settings.services:
        yield from stray_pod_elements(workload, addresses)


def service(table: ServiceTable) -> Iterator[NodeClaim]:
    return service_claims(table)


def service_range(known: ServiceRange) -> Iterator[NodeClaim]:
    return service_range_elements(known.prefixes, Cause(known.ref, "spec.cidrs"))

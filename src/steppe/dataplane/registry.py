"""The data planes: what puts Services into the tables of a node, one line each.

A data plane renders neutral values (service/table.py) into claims on table entries, and knows its
own entries again. Everything else asks the values: what stands behind an entry is told by its
cause. A new one is a module beside `nft` with these functions, and a line in `DATA_PLANES`.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from steppe.dataplane.nft import plane as nft
from steppe.kube.cause import Problem
from steppe.kube.objects import Node, Workload
from steppe.kube.services import ServiceRange
from steppe.service.table import Frontend, ServiceTable
from steppe.settings import Settings
from steppe.state.node import Key, NodeClaim

Claims = Iterator[NodeClaim | Problem]


class DataPlane(Protocol):
    """What each object of the cluster asks of a node's tables, for Services and masquerading.

    What a data plane cannot do of a Service is a Problem with the Service's cause.
    """

    def own_node(self, settings: Settings, here: Node) -> Claims:
        """Of the node's own object."""

    def other_node(self, settings: Settings, node: Node) -> Claims:
        """Of any other Node."""

    def pod(self, workload: Workload) -> Claims:
        """Of a pod of this node that may call itself by a Service."""

    def service(self, table: ServiceTable) -> Claims:
        """Of a Service and its EndpointSlices."""

    def service_range(self, known: ServiceRange) -> Claims:
        """Of a range that cluster IPs are taken from."""

    def frontends(self, keys: Iterable[Key], protocols: Collection[str]) -> frozenset[Frontend]:
        """The frontends of these protocols that an entry under any of these keys belongs to."""


DATA_PLANES: dict[str, DataPlane] = {
    "nftables": nft,
}


def data_plane(settings: Settings) -> DataPlane:
    """The one that the settings name."""
    return DATA_PLANES[settings.data_plane]

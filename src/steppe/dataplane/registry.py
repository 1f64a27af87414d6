"""The data planes: what puts Services and policies into the tables of a node, one line each.

A data plane renders neutral values (service/table.py, policy/rulings.py) into claims on table
entries, and knows its own entries again. Everything else asks the values: what stands behind an
entry is told by its cause. A new one is a module beside `nft` with these functions, and a line in
`DATA_PLANES`.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from typing import Protocol

from steppe.dataplane.nft import plane as nft
from steppe.dataplane.nft import policy_plane
from steppe.kube.cause import Cause, Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Node, Workload
from steppe.kube.policies import Direction
from steppe.kube.services import ServiceRange
from steppe.net.address import IPAddress, IPNetwork
from steppe.policy.guards import Guard
from steppe.policy.rulings import Ruling
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

    def pod_outside(
        self, settings: Settings, workload: Workload, addresses: Iterable[IPAddress]
    ) -> Claims:
        """Of a pod of this node at addresses that lie in none of the node's prefixes: it was
        attached before the prefix turned out to be another's.
        """

    def service(self, table: ServiceTable) -> Claims:
        """Of a Service and its EndpointSlices."""

    def service_range(self, known: ServiceRange) -> Claims:
        """Of a range that cluster IPs are taken from."""

    def service_ranges(self, kernel: Iterable[Key]) -> Iterator[IPNetwork]:
        """The prefixes of `service_range`, read back from what a kernel holds."""

    def frontends(self, keys: Iterable[Key], protocols: Collection[str]) -> frozenset[Frontend]:
        """The frontends of these protocols that an entry under any of these keys belongs to."""


class PolicyPlane(Protocol):
    """What policies ask of a node's tables: guards of its own pods, and numbers of their peers."""

    def guard(self, workload: Workload, guard: Guard, anyone: Ruling) -> Iterator[NodeClaim]:
        """That policies look at a pod, and what they let through whoever the peer is."""

    def allowed(
        self, number: int, addresses: Iterable[IPAddress], found: Ruling
    ) -> Iterator[NodeClaim]:
        """What the pod with these addresses lets through for peers of this number."""

    def overfull(self, found: Ruling) -> Iterator[Problem]:
        """What of a ruling there is no room for; it stays closed."""

    def peer(
        self, direction: Direction, address: IPAddress, number: int, cause: Cause
    ) -> NodeClaim:
        """The number of a peer at one of its addresses."""

    def block(
        self, direction: Direction, prefix: IPNetwork, number: int, rules: Iterable[Cause]
    ) -> Iterator[NodeClaim]:
        """The number of everyone else in a prefix."""

    def known(self, here: Node) -> Iterator[NodeClaim]:
        """That policies were known when this was written."""

    def namespace(self, namespace: str) -> Iterator[NodeClaim]:
        """That a namespace has a policy."""

    def everywhere(self, policy: ClusterNetworkPolicy) -> Iterator[NodeClaim]:
        """That a policy may select pods of any namespace."""

    def may_have_policies(self, kernel: Container[Key], namespace: str) -> bool:
        """Whether a pod of the namespace may be under a policy, for all that a kernel holds."""

    def is_policy_set(self, name: str) -> bool:
        """Whether a set or map of this name is one that policies are enforced by."""

    def is_policy(self, key: object) -> bool:
        """Whether an entry under this key is one that policies are enforced by."""


POLICIES: PolicyPlane = policy_plane
"""Whatever serves Services, nftables alone judges by policies."""

DATA_PLANES: dict[str, DataPlane] = {
    "nftables": nft,
}


def data_plane(settings: Settings) -> DataPlane:
    """The one that the settings name."""
    return DATA_PLANES[settings.data_plane]

"""The data planes, and the protocols that they implement.

A data plane turns neutral values (service/table.py, policy/rulings.py) into claims on table
entries, and recognizes its own entries. All other code works with the neutral values and with the
causes of entries. A new data plane is a module beside `nft` with these functions, and a line in
`DATA_PLANES`.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from typing import Protocol

from steppe.dataplane.nft import edge_plane, policy_plane
from steppe.dataplane.nft import plane as nft
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
    """The claims of each object for Services and masquerading on one node.

    A part of a Service that a data plane cannot do is a Problem with the Service as cause.
    """

    def own_node(self, settings: Settings, here: Node) -> Claims:
        """The claims of the node's own object."""

    def other_node(self, settings: Settings, node: Node) -> Claims:
        """The claims of any other Node."""

    def pod(self, workload: Workload) -> Claims:
        """The claims of a pod of this node, which may reach itself through a Service."""

    def pod_outside(
        self, settings: Settings, workload: Workload, addresses: Iterable[IPAddress]
    ) -> Claims:
        """Of a pod of this node at addresses that lie in none of the node's prefixes: it was
        attached before the prefix turned out to be another's.
        """

    def service(self, table: ServiceTable) -> Claims:
        """The claims of a Service and its EndpointSlices."""

    def service_range(self, known: ServiceRange) -> Claims:
        """The claims of a range of cluster IPs."""

    def service_ranges(self, kernel: Iterable[Key]) -> Iterator[IPNetwork]:
        """The prefixes of `service_range`, read from a kernel's keys."""

    def frontends(self, keys: Iterable[Key], protocols: Collection[str]) -> frozenset[Frontend]:
        """The frontends of these protocols that the entries under these keys belong to."""


class PolicyPlane(Protocol):
    """The claims of policies on one node: guards of its own pods, and numbers of their peers."""

    def guard(self, workload: Workload, guard: Guard, anyone: Ruling) -> Iterator[NodeClaim]:
        """That policies guard a pod, and what they allow for every peer."""

    def allowed(
        self, number: int, addresses: Iterable[IPAddress], found: Ruling
    ) -> Iterator[NodeClaim]:
        """What the policies of the pod with these addresses allow for peers with this number."""

    def overfull(self, found: Ruling) -> Iterator[Problem]:
        """A Problem for each part of a ruling that does not fit the data plane; it is denied."""

    def peer(
        self, direction: Direction, address: IPAddress, number: int, cause: Cause
    ) -> NodeClaim:
        """The identity's number of a peer, for one of its addresses."""

    def block(
        self, direction: Direction, prefix: IPNetwork, number: int, rules: frozenset[Cause]
    ) -> Iterator[NodeClaim]:
        """The identity's number of all others in a prefix (an ipBlock of a policy)."""

    def known(self, here: Node) -> Iterator[NodeClaim]:
        """The mark that all policies were known when it was written."""

    def namespace(self, namespace: str) -> Iterator[NodeClaim]:
        """The mark that a namespace has a policy."""

    def everywhere(self, policy: ClusterNetworkPolicy) -> Iterator[NodeClaim]:
        """The mark that a policy may select pods of any namespace."""

    def may_have_policies(self, kernel: Container[Key], namespace: str) -> bool:
        """Whether, by what a kernel has stored, a policy may select pods of the namespace."""

    def is_policy_set(self, name: str) -> bool:
        """Whether policies are enforced by the set or map of this name."""

    def is_policy(self, key: object) -> bool:
        """Whether policies are enforced by the entry under this key."""


class EdgePlane(Protocol):
    """What guards a node's edges: what its pods may send, and who may send to it by tunnels."""

    def pod(self, workload: Workload) -> Iterator[NodeClaim]:
        """That a pod of this node is there."""

    def tunnel(self, link: str, protocol: str, port: int, here: Node) -> Iterator[NodeClaim]:
        """That tunnels of this IP protocol, if UDP to this port, end at the node and come out of
        this link.
        """

    def tunnel_peer(self, peer: Node) -> Iterator[NodeClaim]:
        """That a node's tunnels end here."""


EDGES: EdgePlane = edge_plane
"""Whatever serves Services, nftables alone guards the edges."""

POLICIES: PolicyPlane = policy_plane
"""nftables enforces policies with every data plane for Services."""

DATA_PLANES: dict[str, DataPlane] = {
    "nftables": nft,
}


def data_plane(settings: Settings) -> DataPlane:
    """The data plane that the settings choose."""
    return DATA_PLANES[settings.data_plane]

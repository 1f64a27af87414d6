"""The same tables kept current: the cost of an event depends on what it changes, not on the size
of the cluster.

The claims of each object are remembered as its claim set. When the object changes, only its claim
set is compiled again, only keys that the old or the new set claims are settled again, and only
those keys are returned to be diffed. The exception is the node's own object: every claim set may
depend on it.

    events ──▶ claim sets by object ──▶ claims by key ──▶ entries ──▶ the keys that may differ
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from itertools import chain

from steppe.compile.node import (
    claims_of_own_node,
    claims_of_peer,
    claims_of_service_range,
    claims_of_workload,
)
from steppe.compile.owners import LinkOwner
from steppe.compile.policy_tables import PolicyTables
from steppe.compile.service_tables import ServiceTables
from steppe.compile.tables import Entries, Tables
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.claims import NodeClaims
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.net.overlaps import Block
from steppe.service.backends import Vantage
from steppe.service.table import Backends, Frontend
from steppe.settings import Settings
from steppe.state.node import Key


class NodeCompiler:
    """One node's tables under a stream of events; every method returns the keys to diff.

    Invariant, after all work: the entries in `state` are those that `compile_node` would make from
    scratch of the objects given so far, whatever the order of the events. Without the node's own
    object there are no entries but service ranges and policies.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self._nodes: dict[str, Node] = {}
        self._workloads: dict[str, Workload] = {}
        self._ranges: dict[str, ServiceRange] = {}
        self._claims = NodeClaims(settings.pod_ranges)
        self._tables = Tables()
        self.offers = ServiceTables(settings, self._claims, self._tables)
        """The Services' part."""
        self.policies = PolicyTables(self._tables)
        """The policies' part; pods, namespaces and policies are given to it directly."""

    @property
    def here(self) -> Node | None:
        """The node's own object, without prefixes that are others'; until it is known there are no
        tables.
        """
        here = self._nodes.get(self.name)
        return self._claims.own_node(here) if here is not None else None

    @property
    def vantage(self) -> Vantage | None:
        """What of this node Services depend on; None while the node's own object is not known."""
        return self.offers.vantage

    @property
    def nodes(self) -> dict[str, Node]:
        """As they were told of, with what they ask for and may not have."""
        return self._nodes

    @property
    def peers(self) -> tuple[Node, ...]:
        """The other nodes, without what they ask for and may not have."""
        return tuple(self._given(name) for name in self._nodes if name != self.name)

    @property
    def refused_here(self) -> tuple[Problem, ...]:
        """What of its own Node's addresses and prefixes is not used, and why."""
        return self._claims.problems(ObjectRef("Node", "", self.name))

    def rivals(self, node: Node) -> frozenset[str]:
        """Other Nodes that ask for an address or a prefix that this one asks for."""
        return self._claims.rivals(node)

    @property
    def workloads(self) -> dict[str, Workload]:
        return self._workloads

    @property
    def services(self) -> Collection[Service]:
        return self.offers.all

    def slices_of(self, namespace: str, name: str) -> Collection[EndpointSlice]:
        """The slices of the Service of this name."""
        return self.offers.slices_of((namespace, name))

    @property
    def service_ranges(self) -> Collection[ServiceRange]:
        return self._ranges.values()

    def served(self, wanted: Iterable[Frontend]) -> dict[Frontend, Backends]:
        """The backends of each of these frontends; a frontend without a Service is left out."""
        return self.offers.served(wanted)

    @property
    def pending(self) -> AbstractSet[Key]:
        """The keys of work that waits: their entries must not get into the kernel yet."""
        services, policies = self.offers.pending, self.policies.pending
        return services | policies if services and policies else services or policies

    @property
    def state(self) -> Entries:
        return self._tables.state

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._tables.problems

    def set_node(self, node: Node) -> frozenset[Key]:
        if self._nodes.get(node.name) == node:
            return frozenset()
        self._nodes[node.name] = node
        before = self._claims.blocks(node.ref)
        return self._compile_claimants(self._claims.ask(node), before)

    def remove_node(self, name: str) -> frozenset[Key]:
        if self._nodes.pop(name, None) is None:
            return frozenset()
        ref = ObjectRef("Node", "", name)
        before = self._claims.blocks(ref)
        touched = self.policies.remove_node(name)
        return touched | self._compile_claimants(self._claims.withdraw(ref), before)

    def is_undisputed(self, name: str) -> bool:
        """Whether a node's claims have no Problem, and no other object claims one of their keys."""
        return self._tables.is_undisputed(ObjectRef("Node", "", name))

    def _compile_claimants(
        self, refs: Collection[ObjectRef], before: Collection[Block]
    ) -> frozenset[Key]:
        """Nodes and ranges that may have got other addresses, and the Services they concern.

        `before` are the blocks that the first of them asked for until now.
        """
        names = sorted(ref.name for ref in refs if ref.kind == "Node")
        present = [name for name in names if name in self._nodes]
        parts: list[frozenset[Key]] = []
        if self.settings.policies:
            parts += [self.policies.set_node(self._given(name)) for name in present]
        blocks = chain(before, *map(self._claims.blocks, refs))
        concerned = self.offers.near(frozenset(blocks))
        parts += [self._compile_range(ref.name) for ref in refs if ref.kind != "Node"]
        if self.name in names:
            parts.append(self._compile_all())
        else:
            parts += map(self._compile_peer, names)
            parts.append(self.offers.compile_again(concerned))
        return frozenset[Key]().union(*parts)

    def _given(self, name: str) -> Node:
        """A node as it is for this one."""
        node = self._nodes[name]
        return self._claims.own_node(node) if name == self.name else self._claims.node(node)

    def set_workload(self, workload: Workload) -> frozenset[Key]:
        self._workloads[workload.link] = workload
        return self._compile_workload(workload.link)

    def remove_workload(self, link: str) -> frozenset[Key]:
        self._workloads.pop(link, None)
        return self._compile_workload(link)

    def set_service(self, service: Service) -> frozenset[Key]:
        return self.offers.set_service(service)

    def remove_service(self, namespace: str, name: str) -> frozenset[Key]:
        return self.offers.remove_service(namespace, name)

    def set_slice(self, slice_: EndpointSlice) -> frozenset[Key]:
        """Add or replace a slice; its label names its Service and may change to another one's."""
        return self.offers.set_slice(slice_)

    def remove_slice(self, namespace: str, name: str) -> frozenset[Key]:
        return self.offers.remove_slice(namespace, name)

    def set_service_range(self, known: ServiceRange) -> frozenset[Key]:
        before = self._claims.blocks(known.ref)
        self._ranges[known.name] = known
        return self._compile_claimants(self._claims.ask(known), before)

    def remove_service_range(self, name: str) -> frozenset[Key]:
        ref = ServiceRange(name).ref
        before = self._claims.blocks(ref)
        self._ranges.pop(name, None)
        return self._compile_claimants(self._claims.withdraw(ref), before)

    def _compile_range(self, name: str) -> frozenset[Key]:
        """Prefixes of cluster IPs are the same on every node, and need no Node to be known."""
        known, ref = self._ranges.get(name), ServiceRange(name).ref
        if known is None:
            return self._tables.replace(ref, ())
        given = self._claims.service_range(known)
        block = claims_of_service_range(self.settings, given)
        return self._tables.replace(ref, (*block, *self._claims.problems(ref)))

    def _compile_all(self) -> frozenset[Key]:
        here = self.here
        served = self.settings.node_port_addresses
        vantage = Vantage.of(here, served) if here is not None else None
        own = claims_of_own_node(self.settings, here, self.refused_here) if here is not None else ()
        touched = self._tables.replace(ObjectRef("Node", "", self.name), own)
        parts = [self._compile_peer(name) for name in self._nodes if name != self.name]
        parts += [self._compile_workload(link) for link in self._workloads]
        return touched.union(*parts, self.offers.stand_at(vantage))

    def _compile_peer(self, name: str) -> frozenset[Key]:
        here, peer = self.here, self._nodes.get(name)
        owner = ObjectRef("Node", "", name)
        if here is None or peer is None:
            return self._tables.replace(owner, ())
        block = claims_of_peer(self.settings, here, self._claims.node(peer))
        return self._tables.replace(owner, (*block, *self._claims.problems(owner)))

    def _compile_workload(self, link: str) -> frozenset[Key]:
        here, workload = self.here, self._workloads.get(link)
        owner = LinkOwner(link)
        if here is None or workload is None:
            return self._tables.replace(owner, ()) | self.policies.set_workload(link, None)
        touched = self._tables.replace(owner, claims_of_workload(self.settings, here, workload))
        if self.settings.policies:
            touched |= self.policies.set_workload(link, workload)
        return touched

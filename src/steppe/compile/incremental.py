"""The same tables kept current: the cost of an event depends on what it changes, not on the size
of the cluster.

The claims of each object are remembered as its claim set. When the object changes, only its claim
set is compiled again, only keys that the old or the new set claims are settled again, and only
those keys are returned to be diffed. The exception is the node's own object: every claim set may
depend on it.

    events ──▶ claim sets by object ──▶ claims by key ──▶ entries ──▶ the keys that may differ
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from steppe.compile.node import (
    claims_of_own_node,
    claims_of_peer,
    claims_of_service,
    claims_of_service_range,
    claims_of_workload,
)
from steppe.compile.owners import LinkOwner
from steppe.compile.policy_tables import PolicyTables
from steppe.compile.tables import Entries, Tables
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.claims import NodeClaims
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.net.overlaps import Block
from steppe.service.backends import Vantage, service_table
from steppe.service.claims import API_SERVER, ServiceClaims
from steppe.service.ownership import FrontendOwners, ServiceName
from steppe.service.table import Backends, Frontend, ServiceTable
from steppe.settings import Settings
from steppe.state.node import Key


class NodeCompiler:
    """One node's tables under a stream of events; every method returns the keys to diff.

    Invariant: the entries in `state` are those that `compile_node` would make from scratch of the
    objects given so far, whatever the order of the events. Without the node's own object there are
    no entries but service ranges and policies.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self._nodes: dict[str, Node] = {}
        self._workloads: dict[str, Workload] = {}
        self._services: dict[ServiceName, Service] = {}
        self._slices: dict[ServiceName, dict[str, EndpointSlice]] = {}
        self._slice_owner: dict[ServiceName, ServiceName] = {}
        self._ranges: dict[str, ServiceRange] = {}
        self._claims = NodeClaims(settings.pod_ranges)
        self._offers = ServiceClaims(self._claims, settings.external_ips)
        self._owners = FrontendOwners()
        self._vantage: Vantage | None = None
        self._tables = Tables()
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
        return self._vantage

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
        return self._services.values()

    def slices_of(self, namespace: str, name: str) -> Collection[EndpointSlice]:
        """The slices of the Service of this name."""
        return self._slices.get((namespace, name), {}).values()

    @property
    def service_ranges(self) -> Collection[ServiceRange]:
        return self._ranges.values()

    def served(self, wanted: Iterable[Frontend]) -> dict[Frontend, Backends]:
        """The backends of each of these frontends; a frontend without a Service is left out."""
        vantage, found = self.vantage, dict[Frontend, Backends]()
        if vantage is None or not self.settings.services:
            return found
        fronts = frozenset(wanted)
        for name in set(filter(None, map(self._owners.find, fronts))):
            slices = self._slices.get(name, {}).values()
            service = self._offers.service(self._services[name])
            table = service_table(vantage, service, slices, self._owners.owner)
            found.update(row for row in table.rows if row[0] in fronts)
        return found

    def service_tables(
        self, wanted: Callable[[Service], bool]
    ) -> Iterator[tuple[Service, ServiceTable]]:
        """The wanted Services, without addresses that they may not have, and their tables here."""
        vantage = self.vantage
        for name, service in self._services.items():
            if vantage is None or not self.settings.services or not wanted(service):
                continue
            given, slices = self._offers.service(service), self._slices.get(name, {}).values()
            yield given, service_table(vantage, given, slices, self._owners.owner)

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
        concerned = self._offers.near(frozenset(blocks))
        parts += [self._compile_range(ref.name) for ref in refs if ref.kind != "Node"]
        if self.name in names:
            parts.append(self._compile_all())
        else:
            parts += map(self._compile_peer, names)
            parts += map(self._compile_rivals, concerned)
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
        name = (service.namespace, service.name)
        if self._services.get(name) == service:
            return frozenset()
        self._services[name] = service
        return self._compile_offers(self._offers.ask(service))

    def remove_service(self, namespace: str, name: str) -> frozenset[Key]:
        self._services.pop((namespace, name), None)
        return self._compile_offers(self._offers.withdraw((namespace, name)))

    def _compile_offers(self, names: Iterable[ServiceName]) -> frozenset[Key]:
        return frozenset[Key]().union(*map(self._compile_rivals, names))

    def set_slice(self, slice_: EndpointSlice) -> frozenset[Key]:
        """Add or replace a slice; its label names its Service and may change to another one's."""
        name, owner = (slice_.namespace, slice_.name), (slice_.namespace, slice_.service)
        touched = frozenset[Key]()
        if self._slice_owner.get(name, owner) != owner:
            touched = self.remove_slice(*name)
        slices = self._slices.setdefault(owner, {})
        if slices.get(slice_.name) == slice_:
            return touched
        slices[slice_.name] = slice_
        self._slice_owner[name] = owner
        return touched | self._compile_endpoints(owner)

    def remove_slice(self, namespace: str, name: str) -> frozenset[Key]:
        owner = self._slice_owner.pop((namespace, name), None)
        if owner is None:
            return frozenset()
        slices = self._slices[owner]
        del slices[name]
        if not slices:
            del self._slices[owner]
        return self._compile_endpoints(owner)

    def _compile_endpoints(self, owner: ServiceName) -> frozenset[Key]:
        touched = self._compile_service(owner)
        if owner == API_SERVER:
            slices = self._slices.get(owner, {}).values()
            touched |= self._compile_offers(self._offers.set_api_servers(slices))
        return touched

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
        self._vantage = Vantage.of(here, served) if here is not None else None
        own = claims_of_own_node(self.settings, here, self.refused_here) if here is not None else ()
        touched = self._tables.replace(ObjectRef("Node", "", self.name), own)
        parts = [self._compile_peer(name) for name in self._nodes if name != self.name]
        parts += [self._compile_workload(link) for link in self._workloads]
        for name in self._services:
            self._note_frontends(name)
        parts += [self._compile_service(name) for name in self._services]
        return touched.union(*parts)

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

    def _note_frontends(self, name: ServiceName) -> frozenset[ServiceName]:
        service = self._services.get(name)
        asked = self._offers.service(service) if service is not None else None
        return self._owners.note(name, asked, self.vantage)

    def _compile_rivals(self, name: ServiceName) -> frozenset[Key]:
        """One Service, and the others that share a frontend with it, before or after."""
        concerned = {name, *self._note_frontends(name)}
        return frozenset[Key]().union(*map(self._compile_service, concerned))

    def _compile_service(self, name: ServiceName) -> frozenset[Key]:
        vantage, service = self.vantage, self._services.get(name)
        owner = ObjectRef("Service", *name)
        if vantage is None or service is None:
            return self._tables.replace(owner, ())
        slices = self._slices.get(name, {}).values()
        given = self._offers.service(service)
        block = claims_of_service(self.settings, vantage, given, slices, self._owners)
        problems = self._offers.problems(service) if self.settings.services else ()
        return self._tables.replace(owner, (*block, *problems))

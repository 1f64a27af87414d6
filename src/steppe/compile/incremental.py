"""The same tables kept current: the cost of an event depends on what it changes, not on the size
of the cluster.

The claims of each object are remembered as its claim set. When the object changes, only its claim
set is compiled again, only keys that the old or the new set claims are settled again, and only
those keys are returned to be diffed. The exception is the node's own object: every claim set may
depend on it.

    events ──▶ claim sets by object ──▶ claims by key ──▶ entries ──▶ the keys that may differ
"""

from collections.abc import Collection, Iterable

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
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.service.backends import Vantage, service_table
from steppe.service.ownership import FrontendOwners, ServiceName
from steppe.service.table import Backends, Frontend
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
        self._owners = FrontendOwners()
        self._vantage: Vantage | None = None
        self._tables = Tables()
        self.policies = PolicyTables(self._tables)
        """The policies' part; pods, namespaces and policies are given to it directly."""

    @property
    def here(self) -> Node | None:
        """The node's own object; until it is known, nothing that depends on it is compiled."""
        return self._nodes.get(self.name)

    @property
    def vantage(self) -> Vantage | None:
        """What of this node Services depend on; None while the node's own object is not known."""
        return self._vantage

    @property
    def nodes(self) -> dict[str, Node]:
        return self._nodes

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
            table = service_table(vantage, self._services[name], slices, self._owners.owner)
            found.update(row for row in table.rows if row[0] in fronts)
        return found

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
        touched = self.policies.set_node(node) if self.settings.policies else frozenset[Key]()
        return touched | self._compile_node(node.name)

    def remove_node(self, name: str) -> frozenset[Key]:
        if self._nodes.pop(name, None) is None:
            return frozenset()
        return self.policies.remove_node(name) | self._compile_node(name)

    def is_undisputed(self, name: str) -> bool:
        """Whether a node's claims have no Problem, and no other object claims one of their keys."""
        return self._tables.is_undisputed(ObjectRef("Node", "", name))

    def _compile_node(self, name: str) -> frozenset[Key]:
        return self._compile_all() if name == self.name else self._compile_peer(name)

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
        return self._compile_rivals(name)

    def remove_service(self, namespace: str, name: str) -> frozenset[Key]:
        self._services.pop((namespace, name), None)
        return self._compile_rivals((namespace, name))

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
        return touched | self._compile_service(owner)

    def remove_slice(self, namespace: str, name: str) -> frozenset[Key]:
        owner = self._slice_owner.pop((namespace, name), None)
        if owner is None:
            return frozenset()
        slices = self._slices[owner]
        del slices[name]
        if not slices:
            del self._slices[owner]
        return self._compile_service(owner)

    def set_service_range(self, known: ServiceRange) -> frozenset[Key]:
        """Prefixes of cluster IPs do not depend on the node's own object: compiled at once."""
        self._ranges[known.name] = known
        return self._tables.replace(known.ref, claims_of_service_range(self.settings, known))

    def remove_service_range(self, name: str) -> frozenset[Key]:
        self._ranges.pop(name, None)
        return self._tables.replace(ServiceRange(name).ref, ())

    def _compile_all(self) -> frozenset[Key]:
        here = self.here
        served = self.settings.node_port_addresses
        self._vantage = Vantage.of(here, served) if here is not None else None
        own = claims_of_own_node(self.settings, here) if here is not None else ()
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
        return self._tables.replace(owner, claims_of_peer(self.settings, here, peer))

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
        return self._owners.note(name, self._services.get(name), self.vantage)

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
        claim_set = claims_of_service(self.settings, vantage, service, slices, self._owners)
        return self._tables.replace(owner, claim_set)

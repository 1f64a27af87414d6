"""Services' entries kept current: each Service is compiled with its EndpointSlices.

An event compiles the Services that it concerns: one, and those that share a frontend with it. A
small one is a single step. The steps of a large one are worked off in slices (long_work.py).
"""

from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from itertools import chain

from steppe.compile.long_work import LongWork
from steppe.compile.node import claims_of_service
from steppe.compile.slices import Pace, Work
from steppe.compile.tables import Tables
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.claims import NodeClaims
from steppe.kube.services import EndpointSlice, Service
from steppe.net.overlaps import Block
from steppe.service.backends import Vantage, rows_of
from steppe.service.claims import API_SERVER, ServiceClaims
from steppe.service.limits import may_exceed
from steppe.service.ownership import FrontendOwners, ServiceName
from steppe.service.table import Backends, Frontend
from steppe.settings import Settings
from steppe.state.node import Key, NodeClaim

LARGE = 2_000
"""With more entries than this, a Service is compiled in steps."""
STEP = 500
"""Entries of a step: some milliseconds."""
NONE: frozenset[Key] = frozenset()


class ServiceTables:
    """The Services of one node; each method that changes them returns the keys to diff.

    Invariant, after all work: `tables` holds what each Service, its slices and the vantage come to,
    whatever the order of the events. Without a vantage that is nothing.
    """

    def __init__(self, settings: Settings, claims: NodeClaims, tables: Tables) -> None:
        self._settings = settings
        self._tables = tables
        self._services: dict[ServiceName, Service] = {}
        self._slices: dict[ServiceName, dict[str, EndpointSlice]] = {}
        self._slice_owner: dict[ServiceName, ServiceName] = {}
        self._offers = ServiceClaims(claims, settings.external_ips)
        self._owners = FrontendOwners()
        self._work = LongWork(self._steps)
        self.large, self.step = LARGE, STEP
        self.vantage: Vantage | None = None
        """What of this node Services depend on; None while the node's own object is not known."""
        self.loaded = True
        """Whether what was learnt at once is worked off: until then an entry may be missing."""

    @property
    def all(self) -> Collection[Service]:
        return self._services.values()

    def slices_of(self, name: ServiceName) -> Collection[EndpointSlice]:
        """The slices of the Service of this name."""
        return self._slices.get(name, {}).values()

    def work_in_slices(self, behind: Callable[[], None], pace: Pace | None = None) -> None:
        """From now on long work waits: `behind` is called, and then `more` has to be."""
        self._work.behind, self._work.pace = behind, pace or self._work.pace

    def more(self) -> frozenset[Key]:
        """One slice of what waits; with the last of some Services, the keys that it touched."""
        found = self._work.more()
        self.loaded = self.loaded or not self._work.waiting
        return found

    @property
    def waiting(self) -> bool:
        """Whether there is work that waits: the entries may then be half of a change."""
        return self._work.waiting

    @property
    def pending(self) -> AbstractSet[Key]:
        """The keys of what waits: their entries must not get into the kernel yet."""
        return self._work.pending

    def learn(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> frozenset[Key]:
        """Take in all objects at once."""
        touched: set[Key] = set()
        for slice_ in slices:
            touched |= self.set_slice(slice_)
        for service in services:
            touched |= self.set_service(service)
        self.loaded = not self.waiting
        return frozenset(touched)

    def served(self, wanted: Iterable[Frontend]) -> dict[Frontend, Backends]:
        """The backends of each of these frontends; a frontend without a Service is left out."""
        found = dict[Frontend, Backends]()
        if self.vantage is None or not self._settings.services:
            return found
        fronts = frozenset(wanted)
        for name in set(filter(None, map(self._owners.find, fronts))):
            service = self._offers.service(self._services[name])
            slices = self.slices_of(name)
            found.update(rows_of(self.vantage, service, slices, self._owners.owner, fronts))
        return found

    def set_service(self, service: Service) -> frozenset[Key]:
        name = (service.namespace, service.name)
        if self._services.get(name) == service:
            return NONE
        self._services[name] = service
        return self._compile_rivals(self._offers.ask(service))

    def remove_service(self, namespace: str, name: str) -> frozenset[Key]:
        self._services.pop((namespace, name), None)
        return self._compile_rivals(self._offers.withdraw((namespace, name)))

    def set_slice(self, slice_: EndpointSlice) -> frozenset[Key]:
        """Add or replace a slice; its label names its Service and may change to another one's."""
        name, owner = (slice_.namespace, slice_.name), (slice_.namespace, slice_.service)
        touched = NONE
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
            return NONE
        slices = self._slices[owner]
        del slices[name]
        if not slices:
            del self._slices[owner]
        return self._compile_endpoints(owner)

    def stand_at(self, vantage: Vantage | None) -> frozenset[Key]:
        """The node's own object is another: all Services are compiled again."""
        self.vantage = vantage
        for name in self._services:
            self._note_frontends(name)
        return NONE.union(*(self._compile((name,)) for name in self._services))

    def near(self, blocks: Iterable[Block]) -> frozenset[ServiceName]:
        """The Services that name an address from outside in these blocks."""
        return self._offers.near(blocks)

    def compile_again(self, names: Iterable[ServiceName]) -> frozenset[Key]:
        """What these Services may have of the addresses that they ask for may be something else."""
        return self._compile_rivals(names)

    def _compile_endpoints(self, owner: ServiceName) -> frozenset[Key]:
        touched = self._compile((owner,))
        if owner == API_SERVER:
            slices = self._slices.get(owner, {}).values()
            touched |= self._compile_rivals(self._offers.set_api_servers(slices))
        return touched

    def _note_frontends(self, name: ServiceName) -> frozenset[ServiceName]:
        service = self._services.get(name)
        asked = self._offers.service(service) if service is not None else None
        return self._owners.note(name, asked, self.vantage)

    def _compile_rivals(self, names: Iterable[ServiceName]) -> frozenset[Key]:
        """Each of them, with the others that share a frontend with it, before or after."""
        groups = [{name, *self._note_frontends(name)} for name in names]
        return NONE.union(*map(self._compile, groups))

    def _compile(self, names: Collection[ServiceName]) -> frozenset[Key]:
        """Services whose keys are handed out together."""
        if any(map(self._takes_long, names)):
            return self._work.add(names)
        replace, claims = self._tables.replace, self._claims
        parts = [replace(ObjectRef("Service", *name), claims(name)) for name in names]
        return parts[0] if len(parts) == 1 else NONE.union(*parts)

    def _takes_long(self, name: ServiceName) -> bool:
        service, slices = self._services.get(name), self._slices.get(name, {}).values()
        return (
            (service is not None and may_exceed(self.large, service, slices))
            or self._tables.size(ObjectRef("Service", *name)) > self.large
            or (self._work.waiting and self._work.has(name))
        )

    def _steps(self, name: ServiceName) -> Work:
        claims = self._claims(name, at_once=False)
        return self._tables.replacing(ObjectRef("Service", *name), claims, self.step)

    def _claims(self, name: ServiceName, *, at_once: bool = True) -> Iterable[NodeClaim | Problem]:
        vantage, service = self.vantage, self._services.get(name)
        if vantage is None or service is None:
            return ()
        given, slices = self._offers.service(service), self.slices_of(name)
        settings, owners = self._settings, self._owners
        block = claims_of_service(settings, vantage, given, slices, owners, at_once=at_once)
        problems = self._offers.problems(service) if settings.services else ()
        return chain(block, problems)

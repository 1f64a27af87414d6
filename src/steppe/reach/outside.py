"""Which Services senders outside the cluster reach, and by which way in.

The way in is a load balancer's or an external address of the Service, or else its node port on any
node. What policies see depends on the node at which a packet comes in: with externalTrafficPolicy
Cluster, endpoints on other nodes see that node as the sender; with Local, packets come in where the
endpoints are, and these see the sender itself. So one row may be for some nodes only.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec

from steppe.judge.classes import VERSIONS
from steppe.judge.fronts import choices
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Service, ServicePort
from steppe.net.address import IPAddress, IPNetwork, holds, of_version, parse_prefix
from steppe.reach.groups import INTERNET
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import member_name
from steppe.reach.services import Offer, OfferRow, Offers, Outcome, View, mask_of
from steppe.service.backends import NamedFrontend
from steppe.service.table import Backend, Backends

_PUBLIC = ("balancer", "external")
_EVERYWHERE_6 = parse_prefix("::/0")

Results = tuple[tuple[Outcome, Mask], ...]
"""The outcomes at one entrance, each with its senders."""


class _Entrance(msgspec.Struct, frozen=True):
    """A node at which packets may come in, and the frontend that takes them."""

    node: Node
    named: NamedFrontend


class Outside:
    """The ways into a cluster's Services.

    Invariant: results depend on the Reach alone, not on the order of calls.
    """

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self.reach = offers.reach
        self._fronts = offers.reach.judge.fronts
        self._nodes = tuple(self.reach.cluster.nodes.values())

    @cached_property
    def all(self) -> tuple[Offer, ...]:
        """Each port of each Service with a way in: at its public addresses, else its node port."""
        services = sorted(self.reach.cluster.services.items())
        return tuple(offer for _, service in services for offer in self.of_service(service))

    def of_service(self, service: Service) -> Iterator[Offer]:
        """The ways into one Service."""
        if not (service.external_ips or service.load_balancer_ips) and not any(
            port.node_port for port in service.ports
        ):
            return
        for port in service.ports:
            for version in VERSIONS:
                found = tuple(self._ways(service, port, version))
                public = [offer for offer in found if offer.kind in _PUBLIC]
                yield from public or found

    def none_of(self, service: Service, port: ServicePort, version: int) -> Offer:
        """The offer of a Service that nobody outside can use."""
        return Offer(service, port, None, version, "none")

    def at(self, address: IPAddress) -> Iterator[Offer]:
        """The offers at one address that is not a cluster IP; for a node's, its node ports."""
        for service in self.reach.cluster.services_at(address):
            for port in service.ports:
                for offer in self._ways(service, port, address.version):
                    if offer.address == address:
                        yield offer
        for node in self.reach.cluster.nodes_at(address):
            for _, service in sorted(self.reach.cluster.services.items()):
                for named in self._named(node, service):
                    if named.kind == "node" and named.front.address == address:
                        yield Offer(service, named.port, address, address.version, "node")

    def rows(self, offer: Offer, senders: Mask = -1) -> Iterator[OfferRow]:
        """The outcomes of all groups outside, by the nodes at which they come in."""
        outside = self.reach.of_kind("outside") & self.reach.matrix.present(offer.version)
        senders &= outside
        if not senders:
            return
        entrances = self._entrances(offer)
        if not entrances:
            yield OfferRow(senders, View(frozenset(), (), False), Outcome("no way in"))
            return
        known: dict[object, Results] = {}
        found: dict[Results, list[str]] = {}
        for entrance in entrances:
            backends = self._fronts.backends(entrance.node, offer.service, entrance.named)
            key = self._likeness(entrance, backends)
            if key not in known:
                known[key] = self._results(offer, entrance, backends, senders)
            found.setdefault(known[key], []).append(entrance.node.name)
        for results, nodes in found.items():
            where = frozenset(nodes if len(found) > 1 else ())
            for outcome, some in results:
                yield OfferRow(some, View(where, (), False), outcome)

    def inside_rows(self, offer: Offer, senders: Mask = -1) -> Iterator[OfferRow]:
        """The outcomes of pods and nodes that use this address, which are asked one by one."""
        if offer.address is None:
            return
        found: dict[Outcome, dict[str, int]] = {}
        inside = self.reach.of_kind("pods") | self.reach.of_kind("nodes")
        for number in bits(senders & inside & self.reach.matrix.present(offer.version)):
            for member in self.reach.groups[number].members:
                if isinstance(member, Pod | Node):
                    said = self._offers.outcome(member, offer)
                    found.setdefault(said, {})[member_name(member)] = number
        for outcome, names in found.items():
            view = View(frozenset(), (), False)
            yield OfferRow(mask_of(names.values()), view, outcome, only=frozenset(names))

    def _ways(self, service: Service, port: ServicePort, version: int) -> Iterator[Offer]:
        """One offer for each public address, and one for the node port of all nodes."""
        for node in self._nodes[:1]:
            for named in self._named(node, service):
                address = named.front.address
                if named.kind in _PUBLIC and named.port == port and address.version == version:
                    yield Offer(service, port, address, version, named.kind)
        for node in self._nodes if port.node_port else ():
            for named in self._named(node, service):
                own = named.kind == "node" and named.port == port
                if own and named.front.address.version == version:
                    yield Offer(service, port, None, version, "node")
                    return

    def _named(self, node: Node, service: Service) -> Iterator[NamedFrontend]:
        """The frontends of a Service on this node that are for senders outside."""
        for named in self._fronts.named(node, service):
            if named.kind != "cluster" and self._offers.owns(node, service, named):
                yield named

    def _entrances(self, offer: Offer) -> list[_Entrance]:
        """The nodes at which packets come in; with policy Local, those with endpoints if any."""
        found = [
            _Entrance(node, named)
            for node in self._nodes
            if node.address(offer.version) is not None
            for named in self._named(node, offer.service)
            if named.port == offer.port
            and named.kind == offer.kind
            and named.front.address.version == offer.version
            and offer.address in (None, named.front.address)
        ]
        if not offer.service.external_local or (offer.kind == "node" and offer.address is not None):
            return found
        backends = self._fronts.backends
        near = [e for e in found if backends(e.node, offer.service, e.named).outside]
        return near or found

    def _likeness(self, entrance: _Entrance, known: Backends) -> object:
        """All of an entrance that results depend on."""
        backends, _ = choices(known, "other")
        here = frozenset(b for b in backends if self._is_on(b, entrance.node))
        group = self.reach.group_of_node.get(entrance.node.name)
        return backends, known.refuse, here, group

    def _is_on(self, backend: Backend, node: Node) -> bool:
        end = self.reach.end_at(backend.address)
        return isinstance(end, Pod) and end.node == node.name

    def _results(
        self, offer: Offer, entrance: _Entrance, known: Backends, senders: Mask
    ) -> Results:
        found: list[tuple[Outcome, Mask]] = []
        if known.admitted is not None:
            admitted = self._admitted(senders, known.admitted.prefixes, offer.version)
            if senders & ~admitted:
                found.append((Outcome("barred"), senders & ~admitted))
            senders &= admitted
        backends, masquerade = choices(known, "other")
        counts = {(0, 0): senders} if senders else {}
        for backend in backends:
            least, most = self._allowing(offer, backend, entrance.node, masquerade=masquerade)
            counts = _counted(counts, least, most)
        view = View(frozenset(), backends, known.refuse)
        for (open_, at_most), some in sorted(counts.items(), reverse=True):
            found.append((self._offers.result(offer, view, open_, at_most), some))
        return tuple(found)

    def _allowing(
        self, offer: Offer, backend: Backend, node: Node, *, masquerade: bool
    ) -> tuple[Mask, Mask]:
        """The senders that one endpoint takes, at least and at most."""
        group = self.reach.group_at(backend.address)
        if group is None:
            return 0, 0
        least, most = self._offers.allowing(offer, group, backend.port)
        if not masquerade or self._is_on(backend, node):
            return least, most
        number = self.reach.group_of_node.get(node.name)
        if number is None:
            return 0, 0
        # The endpoint sees the node, whoever sends.
        return (-1 if least >> number & 1 else 0), (-1 if most >> number & 1 else 0)

    def _admitted(self, senders: Mask, ranges: Iterable[IPNetwork], version: int) -> Mask:
        """The groups outside that these source ranges hold."""
        known = tuple(ranges)
        found = 0
        for number in bits(senders):
            prefixes = self.reach.groups[number].prefixes
            if version == 6 and INTERNET in prefixes:
                prefixes = (_EVERYWHERE_6,)
            prefix = of_version(prefixes, version)
            if prefix is not None and any(holds(range_, prefix) for range_ in known):
                found |= 1 << number
        return found


def _counted(
    counts: dict[tuple[int, int], Mask], least: Mask, most: Mask
) -> dict[tuple[int, int], Mask]:
    """The counts of open endpoints with one endpoint more."""
    after: dict[tuple[int, int], Mask] = {}
    for (open_, at_most), some in counts.items():
        parts = (
            ((open_ + 1, at_most + 1), some & least),
            ((open_, at_most + 1), some & most & ~least),
            ((open_, at_most), some & ~most & ~least),
        )
        for key, part in parts:
            if part:
                after[key] = after.get(key, 0) | part
    return after

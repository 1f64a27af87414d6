"""Which pods and nodes reach which ports of a Service at its cluster IPs.

Policies apply to the chosen endpoint, at the endpoint's own port. If a sender may reach some of the
endpoints only, a part of its connections fails: this is reported separately from "none". With
traffic policies or hints, the endpoints to choose from depend on the sender's node.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Literal

import msgspec

from steppe.kube.objects import Node, Pod
from steppe.kube.services import EndpointSlice, Service, ServicePort
from steppe.net.address import IPAddress
from steppe.policy.guards import Piece
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, piece_at
from steppe.reach.reach import End, Reach
from steppe.service.backends import NamedFrontend, Vantage, frontends, named_frontends
from steppe.service.ownership import FrontendOwners
from steppe.service.table import Backend

Said = Literal["allowed", "partly", "denied", "refused", "dropped", "absent", "unserved"]


class View(msgspec.Struct, frozen=True):
    """A Service's port as seen from some nodes; `refuse`: it has no endpoints on any node.

    `unserved`: the Service has more ports than there is room for, and this is one of the last.
    """

    nodes: frozenset[str]
    backends: tuple[Backend, ...]
    refuse: bool
    unserved: bool = False


class Offer(msgspec.Struct, frozen=True):
    """A port of a Service at one of its cluster IPs, with one view for each set of nodes.

    A single view without nodes is for all nodes.
    """

    service: Service
    port: ServicePort
    address: IPAddress
    views: tuple[View, ...]

    def view(self, node: str) -> View:
        """The view of senders on this node."""
        return next((view for view in self.views if node in view.nodes), self.views[0])

    def __str__(self) -> str:
        return f"svc/{self.service.namespace}/{self.service.name}:{self.port.port}"


class Outcome(msgspec.Struct, frozen=True):
    """The result of connections to an offer.

    `refused`: the Service has no endpoints. `unserved`: refused as well, for the Service is too
    large. `dropped`: its policy is Local and the sender's node has none. `absent`: the Service or
    the sender does not exist. Otherwise policies allow `open` of its endpoints.
    """

    said: Said
    open: int = 0
    endpoints: int = 0


class OfferRow(msgspec.Struct, frozen=True):
    """Senders of one view with the same outcome."""

    senders: Mask
    view: View
    outcome: Outcome


class Offers:
    """All Services of a cluster, for its own pods and nodes as senders.

    Invariant: results depend on the Reach alone, not on the order of calls.
    """

    def __init__(self, reach: Reach) -> None:
        self.reach = reach

    @cached_property
    def all(self) -> tuple[Offer, ...]:
        """Every port of every Service at each of its cluster IPs, sorted by name."""
        return tuple(self._all())

    def rows(self, offer: Offer, senders: Mask = -1) -> Iterator[OfferRow]:
        """The outcomes of all groups; the exception that a pod reaches itself is ignored."""
        version = offer.address.version
        inside = self.reach.of_kind("pods") | self.reach.of_kind("nodes")
        senders &= inside & self.reach.matrix.present(version)
        for view in offer.views:
            here = senders & self._on(view.nodes) if len(offer.views) > 1 else senders
            for outcome, some in self._fared(view, offer.port, version, here):
                yield OfferRow(some, view, outcome)

    def between(self, sender: End, offer: Offer) -> tuple[tuple[Backend, tuple[Piece, ...]], ...]:
        """The decision for one sender's connections, for each endpoint."""
        version = offer.address.version
        return tuple(
            (
                backend,
                self.reach.between(
                    sender, self.reach.end_at(backend.address), version, via_service=True
                ),
            )
            for backend in offer.view(node_of(sender)).backends
        )

    def outcome(self, sender: End, offer: Offer) -> Outcome:
        """The outcome of one sender."""
        view = offer.view(node_of(sender))
        found = self.between(sender, offer)
        pieces = (piece_at(said, offer.port.protocol, to.port) for to, said in found)
        open_ = sum(1 for piece in pieces if piece is not None and piece.allowed)
        return _outcome(view, open_)

    def _all(self) -> Iterator[Offer]:
        cluster = self.reach.cluster
        nodes = tuple(cluster.nodes.values()) or (Node(""),)
        owners = FrontendOwners.of(Vantage(nodes[0], ()), cluster.services.values())
        for _, service in sorted(cluster.services.items()):
            own = tuple(sorted(cluster.slices_of(service), key=lambda slice_: slice_.name))
            for named in named_frontends(Vantage(nodes[0], ()), service):
                if named.kind == "cluster" and owners.owner(named.front) == service.ref:
                    # The node refuses what a port over the limit is sent.
                    views: tuple[View, ...] = (View(frozenset(), (), refuse=True, unserved=True),)
                    if named.port not in service.unserved:
                        views = tuple(_views(nodes, service, own, named))
                    yield Offer(service, named.port, named.front.address, views)

    def _on(self, nodes: frozenset[str]) -> Mask:
        """The groups with a member on these nodes."""
        found = 0
        for node in nodes:
            found |= self._by_node.get(node, 0)
        return found

    @cached_property
    def _by_node(self) -> Mapping[str, Mask]:
        found: dict[str, Mask] = {}
        for number, group in enumerate(self.reach.groups):
            names = {pod.node for pod in group.pods} | {node.name for node in group.nodes}
            for name in names:
                found[name] = found.get(name, 0) | 1 << number
        return found

    def _fared(
        self, view: View, port: ServicePort, version: int, senders: Mask
    ) -> Iterator[tuple[Outcome, Mask]]:
        by_open = {0: senders}
        for (group, number), count in self._counted(view.backends).items():
            allowed = self.reach.matrix.senders_to(group, version, port.protocol, number)
            after: dict[int, Mask] = {}
            for open_, some in by_open.items():
                for more, part in ((count, some & allowed), (0, some & ~allowed)):
                    if part:
                        after[open_ + more] = after.get(open_ + more, 0) | part
            by_open = after
        for open_, some in sorted(by_open.items(), reverse=True):
            if some:
                yield _outcome(view, open_), some

    def _counted(self, backends: Iterable[Backend]) -> Mapping[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        for backend in backends:
            group = self.reach.group_at(backend.address)
            if group is not None:
                key = (group, backend.port)
                found[key] = found.get(key, 0) + 1
        return found


def node_of(end: Member | End) -> str:
    """The node on which an end's packets start; "" for an end outside."""
    if isinstance(end, Pod):
        return end.node
    return end.name if isinstance(end, Node) else ""


def _views(
    nodes: tuple[Node, ...],
    service: Service,
    slices: tuple[EndpointSlice, ...],
    named: NamedFrontend,
) -> Iterator[View]:
    near = service.internal_local or any(e.zones or e.nodes for s in slices for e in s.endpoints)
    found: dict[tuple[tuple[Backend, ...], bool], set[str]] = {}
    for node in nodes if near else nodes[:1]:
        ((_, front),) = frontends(Vantage(node, ()), service, slices, (named,))
        found.setdefault((front.inside, front.refuse), set()).add(node.name)
    for (backends, refuse), names in found.items():
        yield View(frozenset(names if len(found) > 1 else ()), backends, refuse)


def _outcome(view: View, open_: int) -> Outcome:
    total = len(view.backends)
    if view.unserved:
        return Outcome("unserved")
    if not total:
        return Outcome("refused" if view.refuse else "dropped")
    if open_ == total:
        return Outcome("allowed", open_, total)
    return Outcome("partly" if open_ else "denied", open_, total)

"""Which pods and nodes reach which ports of a Service at its cluster IPs.

Policies apply to the chosen endpoint, at the endpoint's own port. If a sender may reach some of the
endpoints only, a part of its connections fails: this is reported separately from "none". With
traffic policies or hints, the endpoints to choose from depend on the sender's node.

What holds for a group does not hold for those that no policy keeps out: an endpoint that is led to
itself, and the node of an endpoint. They are rows of their own, with `only` their names. Senders
outside: see outside.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Literal

import msgspec

from steppe.judge.doubts import Bound
from steppe.judge.fronts import Fronts
from steppe.judge.judge import End
from steppe.judge.pieces import piece_at
from steppe.judge.verdict import Said as Answer
from steppe.judge.verdict import Verdict
from steppe.kube.doubt import Doubt
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Service, ServicePort
from steppe.net.address import IPAddress, of_version
from steppe.net.packet import Packet
from steppe.policy.guards import Piece
from steppe.reach.doubts import doubts_of, service_doubts
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import member_name
from steppe.reach.reach import Reach
from steppe.service.backends import Kind, NamedFrontend
from steppe.service.table import Backend

Said = Literal[
    "allowed", "partly", "denied", "refused", "dropped", "barred", "no way in", "unknown", "absent"
]


_SOURCE_PORT = 40000


class View(msgspec.Struct, frozen=True):
    """A Service's port as seen from some nodes; `refuse`: it has no endpoints on any node."""

    nodes: frozenset[str]
    backends: tuple[Backend, ...]
    refuse: bool


class Offer(msgspec.Struct, frozen=True):
    """A port of a Service at one of its addresses, with one view for each set of nodes.

    A single view without nodes is for all nodes. `address` is None for a node port, which is on
    the nodes' own addresses, and for a Service that nobody outside can use (kind "none").
    """

    service: Service
    port: ServicePort
    address: IPAddress | None
    version: int
    kind: Kind | Literal["none"] = "cluster"
    views: tuple[View, ...] = ()

    def view(self, node: str) -> View:
        """The view of senders on this node."""
        return next((view for view in self.views if node in view.nodes), self.views[0])

    def __str__(self) -> str:
        return f"svc/{self.service.namespace}/{self.service.name}:{self.port.port}"


class Outcome(msgspec.Struct, frozen=True):
    """The result of connections to an offer.

    refused    the Service has no endpoints
    dropped    its policy is Local and the node has none
    barred     its source ranges do not have the sender
    no way in  it has no address that is served to senders outside
    unknown    policies may allow `unknown` endpoints more than `open`, or endpoints are not known
    absent     the Service or the sender does not exist

    Otherwise policies allow `open` of its endpoints.
    """

    said: Said
    open: int = 0
    endpoints: int = 0
    unknown: int = 0


class OfferRow(msgspec.Struct, frozen=True):
    """Senders of one view with the same outcome.

    `only`: of the groups in `senders`, these members alone. `but`: all except these.
    """

    senders: Mask
    view: View
    outcome: Outcome
    only: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()


_WORDS: Mapping[Answer, Said] = {
    "yes": "allowed",
    "no": "denied",
    "partly": "partly",
    "unknown": "unknown",
}


class Offers:
    """All Services of a cluster, for its own pods and nodes as senders.

    Invariant: results depend on the Reach alone, not on the order of calls.
    """

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._fronts: Fronts = reach.judge.fronts

    @cached_property
    def all(self) -> tuple[Offer, ...]:
        """Every port of every Service at each of its cluster IPs, sorted by name."""
        return tuple(self._all())

    def rows(self, offer: Offer, senders: Mask = -1) -> Iterator[OfferRow]:
        """The outcomes of all groups, and of the members that differ from their groups."""
        version = offer.version
        inside = self.reach.of_kind("pods") | self.reach.of_kind("nodes")
        senders &= inside & self.reach.matrix.present(version)
        for view in offer.views:
            here = senders & self._on(view.nodes) if len(offer.views) > 1 else senders
            yield from self._of_view(offer, view, here)

    def members(self, row: OfferRow) -> Iterator[Member]:
        """The senders of a row, one by one."""
        for number in bits(row.senders):
            for member in self.reach.groups[number].members:
                name = member_name(member)
                if row.view.nodes and node_of(member) not in row.view.nodes:
                    continue
                if name not in row.but and (not row.only or name in row.only):
                    yield member

    def between(self, sender: End, offer: Offer) -> tuple[tuple[Backend, tuple[Piece, ...]], ...]:
        """The decision for one sender's connections, for each endpoint."""
        return tuple(
            (
                backend,
                self.reach.between(
                    sender, self.reach.end_at(backend.address), offer.version, via_service=True
                ),
            )
            for backend in offer.view(node_of(sender)).backends
        )

    def outcome(self, sender: Pod | Node, offer: Offer) -> Outcome:
        """The outcome of one sender, as the judge has it."""
        source = of_version(sender.addresses, offer.version)
        if source is None or offer.address is None:
            return Outcome("absent")
        packet = Packet(source, offer.address, offer.port.protocol, _SOURCE_PORT, number(offer))
        return outcome_of(self.reach.judge.verdict(packet))

    def result(self, offer: Offer, view: View, open_: int, most: int) -> Outcome:
        """The outcome where at least so many endpoints are open, and at most so many."""
        total = len(view.backends)
        doubtful = bool(self.reach.judge.doubts.endpoints(offer.service))
        if not total:
            if doubtful:
                return Outcome("unknown")
            return Outcome("refused" if view.refuse else "dropped")
        if open_ != most or (doubtful and most):
            return Outcome("unknown", open_, total, most - open_)
        if open_ == total:
            return Outcome("allowed", open_, total)
        return Outcome("partly" if open_ else "denied", open_, total)

    def doubts(self, offer: Offer, sender: Member) -> tuple[Doubt, ...]:
        """All doubts that may turn a sender's outcome."""
        found = dict.fromkeys(service_doubts(self.reach, offer.service))
        return tuple(found | dict.fromkeys(doubts_of(self.reach, (sender,), "egress")))

    def _allows(self, sender: End, end: End, offer: Offer, port: int, bound: Bound) -> bool:
        pieces = self.reach.judge.between(sender, end, offer.version, via_service=True, bound=bound)
        piece = piece_at(pieces, offer.port.protocol, port)
        return piece is not None and piece.allowed

    def _all(self) -> Iterator[Offer]:
        cluster = self.reach.cluster
        nodes = tuple(cluster.nodes.values()) or (Node(""),)
        for _, service in sorted(cluster.services.items()):
            for named in self._fronts.named(nodes[0], service):
                if named.kind == "cluster" and self.owns(nodes[0], service, named):
                    front = named.front
                    views = tuple(self._views(nodes, service, named))
                    version = front.address.version
                    yield Offer(service, named.port, front.address, version, "cluster", views)

    def owns(self, node: Node, service: Service, named: NamedFrontend) -> bool:
        """Whether a frontend is this Service's, and not an older one's."""
        front = named.front
        found = self._fronts.owner(node, front.address, named.port.protocol, front.port)
        return found is not None and found[0].ref == service.ref

    def _views(
        self, nodes: tuple[Node, ...], service: Service, named: NamedFrontend
    ) -> Iterator[View]:
        found: dict[tuple[tuple[Backend, ...], bool], set[str]] = {}
        for node in nodes if self._fronts.is_near(service) else nodes[:1]:
            known = self._fronts.backends(node, service, named)
            found.setdefault((known.inside, known.refuse), set()).add(node.name)
        for (backends, refuse), names in found.items():
            yield View(frozenset(names if len(found) > 1 else ()), backends, refuse)

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

    def _of_view(self, offer: Offer, view: View, senders: Mask) -> Iterator[OfferRow]:
        gains: dict[int, dict[str, tuple[int, int]]] = {}
        for name, (number, more) in self._always(offer, view, senders).items():
            gains.setdefault(number, {})[name] = more
        for (open_, most), some in sorted(self._fared(offer, view, senders).items(), reverse=True):
            usual, apart = self.result(offer, view, open_, most), _Apart()
            for number in bits(some) if gains else ():
                for name, (gain, most_gain) in gains.get(number, {}).items():
                    own = self.result(offer, view, open_ + gain, most + most_gain)
                    if own != usual:
                        apart.add(own, number, name)
            yield from apart.rows(some, view, usual, lambda number: self._size(number, view))

    def _size(self, number: int, view: View) -> int:
        """How many members of a group see this view."""
        members = self.reach.groups[number].members
        return sum(1 for m in members if not view.nodes or node_of(m) in view.nodes)

    def _fared(self, offer: Offer, view: View, senders: Mask) -> Mapping[tuple[int, int], Mask]:
        """How many endpoints are open at least and at most → the senders of which this is true."""
        found = {(0, 0): senders} if senders else {}
        for (group, number), count in self._counted(view.backends).items():
            least, most = self.allowing(offer, group, number)
            after: dict[tuple[int, int], Mask] = {}
            for (open_, at_most), some in found.items():
                parts = ((count, some & least), (0, some & ~least))
                for more, part in parts:
                    for perhaps, these in ((count, part & most), (0, part & ~most)):
                        if these:
                            key = (open_ + more, at_most + perhaps)
                            after[key] = after.get(key, 0) | these
            found = after
        return found

    def allowing(self, offer: Offer, group: int, port: int) -> tuple[Mask, Mask]:
        """The senders that policies let through to one group's port, at least and at most."""
        protocol, version = offer.port.protocol, offer.version
        least = self.reach.matrix.senders_to(group, version, protocol, port)
        if self.reach.certain:
            return least, least
        return least, self.reach.possible.senders_to(group, version, protocol, port)

    def _always(
        self, offer: Offer, view: View, senders: Mask
    ) -> Mapping[str, tuple[int, tuple[int, int]]]:
        """The senders that no policy keeps from an endpoint: their group, and how many endpoints
        more are open to them than to the others of it, at least and at most.
        """
        found: dict[str, tuple[int, tuple[int, int]]] = {}
        for backend in view.backends:
            end, group = self.reach.end_at(backend.address), self.reach.group_at(backend.address)
            if not isinstance(end, Pod) or group is None:
                continue
            least, most = self.allowing(offer, group, backend.port)
            for sender, number in self._near(end, group):
                elsewhere = view.nodes and node_of(sender) not in view.nodes
                if senders >> number & 1 and not least >> number & 1 and not elsewhere:
                    got = self._allows(sender, end, offer, backend.port, "least")
                    perhaps = self._allows(sender, end, offer, backend.port, "most")
                    name = member_name(sender)
                    _, (more, at_most) = found.get(name, (number, (0, 0)))
                    gain = perhaps and not most >> number & 1
                    found[name] = (number, (more + got, at_most + gain))
        return found

    def _near(self, pod: Pod, group: int) -> Iterator[tuple[Pod | Node, int]]:
        yield pod, group
        number = self.reach.group_of_node.get(pod.node)
        if number is not None:
            yield self.reach.cluster.nodes[pod.node], number

    def _counted(self, backends: Iterable[Backend]) -> Mapping[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        for backend in backends:
            group = self.reach.group_at(backend.address)
            if group is not None:
                key = (group, backend.port)
                found[key] = found.get(key, 0) + 1
        return found


def outcome_of(said: Verdict) -> Outcome:
    """A verdict in numbers of endpoints."""
    if said.stop and not said.ways:
        return Outcome("unknown" if said.said == "unknown" else said.stop)
    open_, unknown = (sum(1 for w in said.ways if w.said == word) for word in ("yes", "unknown"))
    return Outcome(_WORDS[said.said], open_, len(said.ways), unknown)


def number(offer: Offer) -> int:
    """The port that senders use: the Service's, or its node port."""
    return offer.port.node_port if offer.kind == "node" else offer.port.port


class _Apart:
    """Members whose outcome is not that of their groups."""

    def __init__(self) -> None:
        self._found: dict[Outcome, dict[int, set[str]]] = {}

    def add(self, outcome: Outcome, number: int, name: str) -> None:
        self._found.setdefault(outcome, {}).setdefault(number, set()).add(name)

    def rows(
        self, senders: Mask, view: View, usual: Outcome, size: Callable[[int], int]
    ) -> Iterator[OfferRow]:
        """The row of the groups, and those of these members; a whole group needs no names."""
        left, but = senders, set[str]()
        found: list[OfferRow] = []
        for outcome, by_group in self._found.items():
            whole, part, only = 0, 0, set[str]()
            for number, names in by_group.items():
                if len(names) == size(number):
                    whole |= 1 << number
                else:
                    part |= 1 << number
                    only |= names
            left &= ~whole
            but |= only
            if whole:
                found.append(OfferRow(whole, view, outcome))
            if only:
                found.append(OfferRow(part, view, outcome, only=frozenset(only)))
        if left:
            yield OfferRow(left, view, usual, but=frozenset(but))
        yield from found


def node_of(end: Member | End) -> str:
    """The node on which an end's packets start; "" for an end outside."""
    if isinstance(end, Pod):
        return end.node
    return end.name if isinstance(end, Node) else ""


def mask_of(numbers: Iterable[int]) -> Mask:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found

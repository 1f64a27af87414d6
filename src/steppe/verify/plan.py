"""The packets to send: for every pair, or a sample that covers every class of pairs.

Ends on the same node that no policy distinguishes are one class, so that the sample crosses every
pair of nodes and matches every rule. For each pair of classes one packet is sent for each port
range with one decision; the pods of a class take turns. Nothing is sent here; verify/judge.py
predicts results.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from steppe.judge.judge import DEFAULTS
from steppe.judge.pieces import ALL
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.kube.services import Service
from steppe.net.address import IPAddress, of_version
from steppe.net.packet import Packet, Protocol
from steppe.net.ports import EVERYTHING, OTHER, PortRange, PortSet
from steppe.policy.guards import Piece
from steppe.reach.groups import Group, Member
from steppe.reach.names import member_name
from steppe.reach.reach import Reach, reach_of
from steppe.settings import Settings

_VERSIONS = (4, 6)
_USUAL_PORT = 80


class Check(msgspec.Struct, frozen=True):
    """A packet to send, and its ends as text for `steppe explain`.

    `size`: the bytes of the IP packet, which is not to be fragmented; 0 for as few as possible.
    `fits`: whether a packet of that size has to arrive (verify/sizes.py).
    """

    source: str
    target: str
    packet: Packet
    size: int = 0
    fits: bool = True


class Scope(msgspec.Struct, frozen=True):
    """The ends to check: pods and nodes that can be observed, and hosts outside."""

    pods: frozenset[tuple[str, str]]
    nodes: frozenset[str]
    outside: tuple[IPAddress, ...] = ()

    def has(self, member: Member) -> bool:
        if isinstance(member, Pod):
            return (member.namespace, member.name) in self.pods
        return isinstance(member, Node) and member.name in self.nodes


def wanted_ports(ports: Iterable[int], protocols: Iterable[Protocol]) -> PortSet:
    """The ports that --port and --protocol allow: all, if neither is given."""
    numbers, names = tuple(ports), tuple(protocols)
    if not names:
        if not numbers:
            return EVERYTHING
        names = ("TCP",)
    found = PortSet()
    for name in names:
        if name == "ICMP":
            found |= PortSet((PortRange(OTHER, 0, 0),))
        elif numbers:
            for number in numbers:
                found |= PortSet((PortRange(name, number, number),))
        else:
            found |= PortSet((PortRange(name),))
    return found


def checks(
    cluster: Cluster,
    scope: Scope,
    wanted: PortSet = EVERYTHING,
    *,
    every: bool = False,
    settings: Settings = DEFAULTS,
) -> Iterator[Check]:
    """Every packet to send, each once."""
    reach = reach_of(cluster, wanted, mark=_place, settings=settings)
    plan = _Plan(cluster, scope, wanted, reach, every)
    yield from dict.fromkeys((*plan.direct(), *plan.leaving(), *plan.by_service()))


def _place(member: Member) -> object:
    return member.node if isinstance(member, Pod) else member_name(member)


class _Plan(msgspec.Struct, frozen=True):
    """Makes the packets of a plan. Invariant: the same cluster and scope give the same packets."""

    cluster: Cluster
    scope: Scope
    wanted: PortSet
    reach: Reach
    every: bool

    def direct(self) -> Iterator[Check]:
        """From pods to pods and nodes, and from nodes to pods.

        Node to node is left out: only the underlay is involved.
        """
        for i, here in enumerate(self.reach.groups):
            for j, there in enumerate(self.reach.groups):
                if (here.kind, there.kind) not in _DIRECT:
                    continue
                for sender, receiver in self._pairs(i, here, j, there):
                    yield from self._between(sender, receiver, i, j)

    def _pairs(self, i: int, here: Group, j: int, there: Group) -> Iterator[tuple[Member, Member]]:
        senders, receivers = self._known(here), self._known(there)
        pairs = [(s, r) for s in senders for r in receivers if s != r]
        if self.every or not pairs:
            yield from pairs
            return
        # Another pod of the class each time, in turn.
        turn = (j % len(senders)) * len(receivers) + i % len(receivers)
        yield pairs[turn % len(pairs)]

    def _between(self, sender: Member, receiver: Member, i: int, j: int) -> Iterator[Check]:
        for version in _VERSIONS:
            address = _address(receiver, version)
            if address is not None:
                ports = self._ports(self.reach.pieces(i, j, version), receiver)
                yield from _checks(sender, address, member_name(receiver), ports)

    def _ports(
        self, pieces: Sequence[Piece], receiver: Member | None
    ) -> Iterator[tuple[Protocol, int]]:
        """One wanted port of each range with one decision.

        If possible one that the pod declares.
        """
        own: tuple[tuple[str, int], ...] = ()
        if isinstance(receiver, Pod):
            own = tuple((p.protocol, p.number) for p in (*receiver.ports, *receiver.nameless_ports))
        for piece in pieces:
            for wanted in self.wanted.ranges:
                first, last = max(piece.first, wanted.first), min(piece.last, wanted.last)
                if piece.protocol != wanted.protocol or first > last:
                    continue
                if piece.protocol == OTHER:
                    yield "ICMP", 0
                    continue
                usual = (*(n for name, n in own if name == piece.protocol), _USUAL_PORT)
                port = next((n for n in usual if first <= n <= last), max(first, 1))
                yield msgspec.convert(piece.protocol, Protocol), port

    def leaving(self) -> Iterator[Check]:
        """From pods to hosts outside."""
        for i, here in enumerate(self.reach.groups):
            members = self._known(here) if here.kind == "pods" else []
            for sender in members if self.every else members[:1]:
                for address in self.scope.outside:
                    to = self.reach.group_at(address)
                    pieces = ALL if to is None else self.reach.pieces(i, to, address.version)
                    ports = self._ports(pieces, None)
                    yield from _checks(sender, address, str(address), ports)

    def by_service(self) -> Iterator[Check]:
        """From pods and nodes to cluster IPs; from pods and from outside to node ports."""
        senders: list[Member] = []
        for number, group in enumerate(self.reach.groups):
            known = self._known(group)
            senders += known if self.every else known[number % max(len(known), 1) :][:1]
        # The backends of a node port depend only on the sender's node.
        from_nodes = {each.node: each for each in senders if isinstance(each, Pod)}
        for service in self.cluster.services.values():
            name = f"svc/{service.namespace}/{service.name}"
            ports = [(p.protocol, p.port) for p in service.ports]
            for address in service.cluster_ips:
                for sender in senders:
                    yield from _checks(sender, address, name, self._those_wanted(ports))
            ports = [(p.protocol, p.node_port) for p in service.ports if p.node_port]
            for address in self._node_addresses(service) if ports else ():
                for caller in (*from_nodes.values(), *self.scope.outside):
                    yield from _checks(caller, address, str(address), self._those_wanted(ports))

    def _node_addresses(self, service: Service) -> Iterator[IPAddress]:
        families = {address.version for address in service.cluster_ips}
        for node in self.cluster.nodes.values():
            if self.scope.has(node):
                yield from (a for a in node.addresses if a.version in families)

    def _those_wanted(
        self, ports: Iterable[tuple[Protocol, int]]
    ) -> Iterator[tuple[Protocol, int]]:
        return (each for each in ports if self.wanted.holds(*each))

    def _known(self, group: Group) -> list[Member]:
        return [member for member in group.members if self.scope.has(member)]


_DIRECT = frozenset((("pods", "pods"), ("pods", "nodes"), ("nodes", "pods")))


def _checks(
    sender: Member | IPAddress, to: IPAddress, name: str, ports: Iterable[tuple[Protocol, int]]
) -> Iterator[Check]:
    """A packet for each port and each family that sender and receiver have in common."""
    if isinstance(sender, IPAddress):
        source, own = str(sender), of_version((sender,), to.version)
    else:
        source, own = member_name(sender), _address(sender, to.version)
    if own is not None:
        for protocol, port in ports:
            yield Check(source, name, Packet(own, to, protocol, 0, port))


def _address(member: Member, version: int) -> IPAddress | None:
    return of_version(member.addresses, version) if isinstance(member, Pod | Node) else None

"""Whether a connection is possible in one cluster: the one function that every answer comes from.

    judge = judge_of(cluster)
    judge.verdict(packet)                       one packet: which endpoints, and what policies say
    judge.between(sender, receiver, 4)          two ends, every port, with the causes
    judge.at_end(packet, "egress")              one packet, and the policies of one end

A verdict follows the packet from node to node, as the API promises it:

    sender's node: Service? ─▶ its egress policy ─▶ node that was dialled: Service? ─▶ receiver's
    node: its ingress policy, of the sender that it sees ─▶ delivered

reach/ asks for all pairs at once, by the same classes and the same frontends.
"""

import msgspec

from steppe.judge.classes import (
    EGRESS,
    INGRESS,
    OPEN,
    PolicyClass,
    PolicyClasses,
    pieces_of,
)
from steppe.judge.doubts import BOUNDS, Bound, Doubts, not_isolated
from steppe.judge.fronts import Fronts, Led
from steppe.judge.pieces import ALL, both_of, piece_at
from steppe.judge.verdict import Said, Stopped, Verdict, Way, all_of, both
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.doubt import Doubt
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.policy.guards import Piece
from steppe.service.granted import granted
from steppe.settings import Settings

End = Pod | Node | IPAddress
"""A pod, a node (by its first address of a family), or an address outside the cluster."""

DEFAULTS = Settings()


class AtEnd(msgspec.Struct, frozen=True):
    """What one end's policies say of a packet; `said` is never "partly".

    `because` are the rules that let it through, or the policies that do not; () if it is not known.
    """

    said: Said
    because: tuple[Cause, ...] = ()
    doubts: tuple[Doubt, ...] = ()


_NOBODYS = AtEnd("yes")
"""No policy: of no pod, or of one that none selects."""


class Judge:
    """Judges connections in one cluster, which has been granted what it asks for.

    Invariant: it stores only what follows from the cluster and the settings, so a verdict does not
    depend on earlier ones.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings = DEFAULTS,
        classes: PolicyClasses | None = None,
    ) -> None:
        self.cluster = cluster
        self.classes = classes if classes is not None else PolicyClasses(cluster)
        self.fronts = Fronts(cluster, settings)
        self.doubts: Doubts = self.classes.doubts

    def verdict(
        self, packet: Packet, entering: str = "", sender: IPAddress | None = None
    ) -> Verdict:
        """The answer for one packet; `entering` is the node at which it comes in from outside.

        `sender` is an address of the pod that really sends, where that is not the packet's source:
        "The IP that a pod sees itself as is the same IP that others see it as" (The Kubernetes
        network model), so a packet with any other source is dropped.
        """
        forger = self.end_at(sender) if sender is not None else None
        if isinstance(forger, Pod) and packet.source not in forger.addresses:
            return Verdict("no", stop="dropped", because=(Cause(forger.ref, "status.podIPs"),))
        first = self._first_node(packet) or self.cluster.nodes.get(entering)
        led = self.fronts.led(first, packet) if first is not None else None
        if first is not None and led is not None:
            return self._served(packet, first, led, egress=None)
        then = self._node_at(packet.destination)
        if first is None or then is None or then == first:
            return self._verdict([self._delivered(packet, packet, None)])
        egress = self._egress(packet, via_service=False)
        led = self.fronts.led(then, packet) if egress.said != "no" else None
        if led is None:
            return self._verdict([self._delivered(packet, packet, None)])
        return self._served(packet, then, led, egress)

    def between(
        self,
        sender: End,
        receiver: End,
        version: int,
        *,
        via_service: bool = False,
        bound: Bound = "least",
    ) -> tuple[Piece, ...]:
        """What policies say of packets between two ends, on every port.

        () if they have no addresses of this family.
        """
        here, there = self.class_of(sender).bound(bound), self.class_of(receiver).bound(bound)
        if here.side(version) is None or there.side(version) is None:
            return ()
        if sender == receiver and isinstance(sender, Pod):
            # "a pod cannot block access to itself" (Network Policies)
            return self._to_itself(here, version) if via_service else ALL
        if is_own_node(sender, receiver):
            # "Traffic is allowed to a pod if … the traffic source is the pod's local node"
            # (NetworkPolicySpec.ingress)
            return ALL
        return self.classes.between(here, there, version)

    def at_end(self, packet: Packet, direction: Direction) -> AtEnd:
        """What the policies of the sender (egress) or of the receiver (ingress) say of a packet
        that goes from pod to pod, by no Service.
        """
        decide = self._egress if direction == EGRESS else self._ingress
        return decide(packet, via_service=False)

    def end_at(self, address: IPAddress) -> End:
        """The end that has the address."""
        holders = self.cluster.pods_at(address) or self.cluster.nodes_at(address)
        return holders[-1] if holders else address

    def class_of(self, end: End) -> PolicyClass:
        if isinstance(end, Pod):
            return self.classes.of_pod(end)
        if isinstance(end, Node):
            return self.classes.of_node(end)
        return self.classes.of_other(end)

    def _served(self, sent: Packet, node: Node, led: Led, egress: AtEnd | None) -> Verdict:
        """The answer after a Service of this node; `egress` was judged before, or not yet."""
        doubts = self.doubts.endpoints(led.service) if led.service is not None else ()
        if led.stop:
            said: Said = "unknown" if doubts and led.stop != "barred" else "no"
            if egress is not None:
                said = both(said, egress.said)
            return Verdict(said, (), led.stop, led.because, doubts if said == "unknown" else ())
        ways = [
            self._delivered(
                msgspec.structs.replace(
                    sent, destination=backend.address, destination_port=backend.port
                ),
                sent,
                node,
                masquerade=led.masquerade,
                egress=egress,
            )
            for backend in led.backends
        ]
        found = self._verdict(ways)
        if not doubts or found.said == "no":
            return found
        return msgspec.structs.replace(found, said="unknown", doubts=(*found.doubts, *doubts))

    def _verdict(self, ways: list[Way]) -> Verdict:
        doubts = dict.fromkeys(doubt for way in ways for doubt in way.doubts)
        stop: Stopped = "dropped" if all(way.lost for way in ways) else ""
        return Verdict(all_of(way.said for way in ways), tuple(ways), stop, doubts=tuple(doubts))

    def _delivered(
        self,
        packet: Packet,
        sent: Packet,
        by: Node | None,
        *,
        masquerade: bool = False,
        egress: AtEnd | None = None,
    ) -> Way:
        """Whether a packet to its last address gets there; `by` is the node that led it there."""
        seen = self._seen(packet, by) if by is not None and masquerade else packet
        if egress is None:
            egress = self._egress(packet, via_service=by is not None)
        lost = egress.said != "no" and not self._arrives(sent, seen, by)
        ingress = self._ingress(seen, via_service=by is not None)
        said = both(egress.said, ingress.said)
        if lost:
            said = "no"
        deciding = [side for side in (egress, ingress) if side.said == said]
        doubts = (*egress.doubts, *ingress.doubts) if said == "unknown" else ()
        return Way(
            packet.destination,
            packet.destination_port,
            seen.source,
            self._received(packet, by, masquerade=masquerade),
            said,
            tuple(dict.fromkeys(cause for side in deciding for cause in side.because)),
            by.name if by is not None else "",
            tuple(dict.fromkeys(doubts)),
            lost,
        )

    def _arrives(self, sent: Packet, seen: Packet, by: Node | None) -> bool:
        """Whether the network model promises delivery: to pods from pods and nodes, to nodes from
        everywhere, and to addresses outside from pods and nodes.
        """
        source = self.end_at(sent.source)
        inside = self._is_inside(source, sent.source)
        if by is not None and not isinstance(source, Pod):
            # The fabric delivers a packet that a node translated as a packet from that node.
            inside = inside or by.address(sent.source.version) is not None
        receiver = self.end_at(seen.destination)
        if isinstance(receiver, Pod):
            return inside and bool(receiver.node)
        if isinstance(receiver, Node) and seen.destination in receiver.addresses:
            return True
        if not inside or next(self.cluster.nodes_around(seen.destination), None) is not None:
            return False
        if not isinstance(source, Pod):
            return True
        home = self.cluster.nodes.get(source.node)
        return home is not None and home.address(sent.source.version) is not None

    def _is_inside(self, end: End, address: IPAddress) -> bool:
        if isinstance(end, Pod):
            return bool(end.node)
        return isinstance(end, Node) and address in end.addresses

    def _seen(self, packet: Packet, by: Node) -> Packet:
        """The packet as its receiver sees it: a node masquerades what leaves it."""
        receiver, own = self.end_at(packet.destination), by.address(packet.source.version)
        if own is None or (isinstance(receiver, Pod) and receiver.node == by.name):
            return packet
        return msgspec.structs.replace(packet, source=own)

    def _received(self, packet: Packet, by: Node | None, *, masquerade: bool) -> IPAddress:
        """The sender that the receiver itself sees.

        Also a pod that a Service leads back to itself sees its node: it would answer a packet from
        its own address without sending anything, so that the answer stays untranslated.
        """
        if by is None or not (masquerade or packet.source == packet.destination):
            return packet.source
        return by.address(packet.source.version) or packet.source

    def _egress(self, packet: Packet, *, via_service: bool) -> AtEnd:
        sender, receiver = self.end_at(packet.source), self.end_at(packet.destination)
        if not isinstance(sender, Pod):
            return _NOBODYS
        if sender == receiver:
            return self._itself(sender, EGRESS, packet) if via_service else _NOBODYS
        return self._side(sender, EGRESS, receiver, packet)

    def _ingress(self, packet: Packet, *, via_service: bool) -> AtEnd:
        sender, receiver = self.end_at(packet.source), self.end_at(packet.destination)
        if not isinstance(receiver, Pod) or is_own_node(sender, receiver):
            return _NOBODYS
        if sender == receiver:
            return self._itself(receiver, INGRESS, packet) if via_service else _NOBODYS
        return self._side(receiver, INGRESS, sender, packet)

    def _side(self, own: Pod, direction: Direction, peer: End, packet: Packet) -> AtEnd:
        """What the policies of a pod say of a packet from or to a peer."""
        bounds = BOUNDS if self.cluster.doubts else BOUNDS[:1]
        guards = {bound: self.classes.guard(own, direction, bound) for bound in bounds}
        if all(guard == OPEN for guard in guards.values()):
            return _NOBODYS  # whoever the peer is
        address = packet.source if direction == INGRESS else packet.destination
        found = [
            self.classes.pieces(
                direction, guard, self.classes.identity(direction, peer, address, bound)
            )
            for bound, guard in guards.items()
        ]
        doubts = (*self.doubts.policies(own, direction), *self._address_doubts(peer))
        return _side_of(found, packet, doubts)

    def _itself(self, own: Pod, direction: Direction, packet: Packet) -> AtEnd:
        """As `_side`, for a pod that reaches itself through a Service."""
        known = self.classes
        found = []
        for bound in BOUNDS if self.cluster.doubts else BOUNDS[:1]:
            guard = known.guards[direction].values[known.guard(own, direction, bound)]
            address = packet.source if direction == INGRESS else packet.destination
            number = known.identity(direction, own, address, bound)
            identity = known.identities[direction].values[number]
            found.append(pieces_of(not_isolated(guard), identity))
        return _side_of(found, packet, self.doubts.policies(own, direction))

    def _address_doubts(self, end: End) -> tuple[Doubt, ...]:
        return self.doubts.address(end) if isinstance(end, Pod) else ()

    def _first_node(self, packet: Packet) -> Node | None:
        """The sender's own node; for a sender outside, the node that it addresses."""
        sender = self.end_at(packet.source)
        if isinstance(sender, Pod):
            return self.cluster.nodes.get(sender.node)
        return self._node_at(packet.source) or self._node_at(packet.destination)

    def _node_at(self, address: IPAddress) -> Node | None:
        found = self.cluster.nodes_at(address)
        return next((node for node in found if address in node.addresses), None)

    def _to_itself(self, own: PolicyClass, version: int) -> tuple[Piece, ...]:
        """What a pod may send itself through a Service.

        NetworkPolicies always allow this; the tiers of ClusterNetworkPolicies still apply.
        """
        side = own.side(version)
        if side is None:
            return ()
        known = self.classes
        egress = not_isolated(known.guards[EGRESS].values[own.egress])
        ingress = not_isolated(known.guards[INGRESS].values[own.ingress])
        return both_of(
            pieces_of(egress, known.identities[EGRESS].values[side.receiver]),
            pieces_of(ingress, known.identities[INGRESS].values[side.sender]),
        )


def is_own_node(sender: object, receiver: object) -> bool:
    """Whether the sender is the node that runs the receiver."""
    return isinstance(sender, Node) and isinstance(receiver, Pod) and receiver.node == sender.name


def _side_of(found: list[tuple[Piece, ...]], packet: Packet, doubts: tuple[Doubt, ...]) -> AtEnd:
    """One end's decision from the pieces at least and at most."""
    port = (packet.protocol, packet.destination_port)
    pieces = [piece for each in found if (piece := piece_at(each, *port)) is not None]
    least, most = pieces[0], pieces[-1]
    if least.allowed or not most.allowed:
        decided = least if least.allowed else most
        return AtEnd("yes" if decided.allowed else "no", decided.because)
    return AtEnd("unknown", doubts=doubts)


def judge_of(cluster: Cluster, settings: Settings = DEFAULTS) -> Judge:
    """A judge of a cluster as its objects have it."""
    given, _ = granted(cluster, settings)
    return Judge(given, settings)

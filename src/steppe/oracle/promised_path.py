"""What the API promises of a packet from one end to the other: the parts of the oracle, joined.

    sender's node: Service? ─▶ its egress policy ─▶ node that was dialled: Service? ─▶ … receiver's
    node: its ingress policy ─▶ delivered

policy.py judges one end, service.py one node, network.py one hop. Here stands only who is asked in
which order, and what the packet looks like by then (docs/decisions/0009-policy-semantics.md).
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork, sort_key
from steppe.net.packet import Packet
from steppe.oracle import policy, service
from steppe.oracle.claims import honoured
from steppe.oracle.network import promise
from steppe.oracle.policy import Decision
from steppe.oracle.policy_match import World, world_of
from steppe.oracle.service import ExternalIPs, NodePortAddresses, api_servers
from steppe.oracle.stop import Stop, at_nobody, at_service, named_by

Fate = Literal["delivered", "denied", "refused", "dropped"]
_NOBODY = Decision(allowed=True, by="no pod")


class Served(msgspec.Struct, frozen=True):
    """A node on which a Service's address became an endpoint's, one of so many."""

    node: str
    dialled: Packet
    endpoint: Packet
    choices: int
    masquerade: bool


class PromisedPath(msgspec.Struct, frozen=True):
    """One way that the packet may go. `entered` is the node it comes to first.

    `stop` is there where it ends for want of a Service or an address: then no policy decides.
    """

    fate: Fate
    share: Fraction
    received: Packet
    kind: str = ""
    target: str = ""
    egress: Decision = _NOBODY
    ingress: Decision = _NOBODY
    stop: Stop | None = None
    entered: str = ""
    served: tuple[Served, ...] = ()

    @property
    def decisive(self) -> tuple[Cause, ...]:
        """The objects that said no."""
        if self.fate != "denied":
            return self.stop.because if self.stop is not None else ()
        closed = (each for each in (self.egress, self.ingress) if not each.allowed)
        return tuple(dict.fromkeys(cause for each in closed for cause in each.because))


class _Way(msgspec.Struct, frozen=True):
    """The packet on its way; `stop` says why a Service lets it go no further."""

    packet: Packet
    share: Fraction = Fraction(1)
    served: tuple[Served, ...] = ()
    stop: Stop | None = None
    fate: Fate = "delivered"


class Oracle:
    """Judges packets in one cluster; what it needs of the cluster is looked up, never scanned."""

    def __init__(
        self,
        cluster: Cluster,
        node_port_addresses: NodePortAddresses = (),
        *,
        pod_ranges: tuple[IPNetwork, ...] = (),
        external_ips: ExternalIPs = "warn",
    ) -> None:
        cluster = honoured(cluster, pod_ranges)
        self.cluster = cluster
        self._node_port_addresses = node_port_addresses
        self._external_ips = external_ips
        self._api_servers = api_servers(cluster)
        self.world: World = world_of(
            cluster.pods.values(),
            cluster.namespaces.values(),
            cluster.nodes.values(),
            cluster.network_policies.values(),
            cluster.cluster_policies.values(),
        )
        self._ranges = tuple(p for known in cluster.service_ranges.values() for p in known.prefixes)

    def paths(self, packet: Packet, at: str = "") -> tuple[PromisedPath, ...]:
        """Every way this packet may go; `at` is the node where it comes in from outside."""
        first = self._node_of(packet.source, packet.destination) or self.cluster.nodes.get(at)
        ways = self._served(_Way(packet), first) if first else iter((_Way(packet),))
        return tuple(path for way in ways for path in self._from(way, packet, first))

    def _from(self, way: _Way, sent: Packet, first: Node | None) -> Iterator[PromisedPath]:
        """Onward from the first node, past the sender's own policies."""
        egress = self._judge(way.packet, way).egress
        then = self._node_at(way.packet.destination)
        ends_here = way.stop or way.served or then == first
        if first is None or then is None or ends_here or not egress.allowed:
            yield self._arriving(way, sent, first, egress)
            return
        for further in self._served(way, then):
            yield self._arriving(further, sent, first, egress)

    def _arriving(
        self, way: _Way, sent: Packet, first: Node | None, egress: Decision
    ) -> PromisedPath:
        """At the receiver, past its own policies."""
        seen = self._as_received(way)
        path = PromisedPath(
            fate=way.fate,
            share=way.share,
            received=seen,
            egress=egress,
            entered=first.name if first is not None else "",
            served=way.served,
        )
        if way.stop is not None:
            return msgspec.structs.replace(path, stop=way.stop)
        ingress = self._judge(seen, way).ingress
        # What a node has translated comes from that node, as far as the fabric is concerned.
        by = self.cluster.nodes.get(way.served[-1].node) if way.served else None
        is_local = self.world.pods.get(sent.source) is not None
        sender = None if by is None or is_local else by.address(sent.source.version)
        promised = promise(
            self.cluster, msgspec.structs.replace(seen, source=sender or sent.source)
        )
        path = msgspec.structs.replace(
            path, kind=promised.kind, target=promised.target, ingress=ingress
        )
        if egress.allowed and promised.kind == "dropped":
            outside = self._node_of(sent.source, seen.destination) is None
            stop = at_nobody(self.cluster, seen, from_outside=outside)
            return msgspec.structs.replace(path, fate="dropped", stop=stop)
        allowed = egress.allowed and ingress.allowed
        return msgspec.structs.replace(path, fate="delivered" if allowed else "denied")

    def _served(self, way: _Way, node: Node) -> Iterator[_Way]:
        """What Services make of the packet on one node."""
        # No other Service has anything to say of this packet, on any node.
        named, destination = named_by(self.cluster, way.packet), way.packet.destination
        world = service.World(
            node,
            named,
            tuple(slice_ for each in named for slice_ in self.cluster.slices_of(each)),
            node.zone,
            self._node_port_addresses,
            service_ranges=self._ranges,
            nodes=(*self.cluster.nodes_at(destination), *self.cluster.nodes_around(destination)),
            api_servers=self._api_servers,
            external_ips=self._external_ips,
        )
        packet = way.packet
        said = service.answer(world, packet)
        match said.action:
            case "pass":
                yield way
            case "dnat":
                share = way.share / len(said.backends)
                for address, port in sorted(said.backends, key=lambda b: (sort_key(b[0]), b[1])):
                    to = msgspec.structs.replace(packet, destination=address, destination_port=port)
                    done = Served(node.name, packet, to, len(said.backends), said.masquerade)
                    yield _Way(to, share, (*way.served, done))
            case "reject" | "drop":
                fate: Fate = "refused" if said.action == "reject" else "dropped"
                stop = at_service(self.cluster, packet, node.name)
                yield _Way(packet, way.share, way.served, stop, fate)

    def _as_received(self, way: _Way) -> Packet:
        """A sender's address is translated as the packet leaves a node: behind that node's own
        policies, before those of any other.
        """
        for done in way.served:
            node = self.cluster.nodes[done.node]
            receiver = self.world.pods.get(way.packet.destination)
            own = node.address(way.packet.source.version)
            if done.masquerade and own and (receiver is None or receiver.node != node.name):
                return msgspec.structs.replace(way.packet, source=own)
        return way.packet

    def _judge(self, packet: Packet, way: _Way) -> policy.Verdict:
        return policy.verdict(self.world, packet, via_service=bool(way.served))

    def _node_of(self, source: IPAddress, destination: IPAddress) -> Node | None:
        """The first node: the sender's own, or for a sender outside the one it dials."""
        pod = self.world.pods.get(source)
        if pod is not None:
            return self.cluster.nodes.get(pod.node)
        return self._node_at(source) or self._node_at(destination)

    def _node_at(self, address: IPAddress) -> Node | None:
        found = self.cluster.nodes_at(address)
        return next((node for node in found if address in node.addresses), None)

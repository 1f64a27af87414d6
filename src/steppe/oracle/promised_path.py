"""What the API promises for a packet from sender to receiver: combines the oracle's parts.

    sender's node: Service? ─▶ its egress policy ─▶ node that was dialled: Service? ─▶ … receiver's
    node: its ingress policy ─▶ delivered

policy.py judges one end, service.py one node, network.py delivery. This module decides in which
order they are asked, and with which addresses (docs/decisions/0009-policy-semantics.md).
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Direction
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
    """A node that translated a Service's address to one endpoint's, out of `choices`."""

    node: str
    dialled: Packet
    endpoint: Packet
    choices: int
    masquerade: bool


class PromisedPath(msgspec.Struct, frozen=True):
    """One path that the packet may take. `entered` is the first node on it.

    `stop` is set if the path ends because no Service or address takes the packet: then no policy
    decides.
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
        """The objects that stop the packet; () if it is delivered."""
        if self.fate != "denied":
            return self.stop.because if self.stop is not None else ()
        closed = (each for each in (self.egress, self.ingress) if not each.allowed)
        return tuple(dict.fromkeys(cause for each in closed for cause in each.because))


class _InTransit(msgspec.Struct, frozen=True):
    """The packet between two steps; `stop` says why a Service stops it."""

    packet: Packet
    share: Fraction = Fraction(1)
    served: tuple[Served, ...] = ()
    stop: Stop | None = None
    fate: Fate = "delivered"


class Oracle:
    """Judges packets in one cluster. It uses the cluster's indexes and never scans all objects.

    Invariant: it stores nothing between packets, so a result depends on the cluster and the
    operator's node port addresses alone.
    """

    def __init__(
        self,
        cluster: Cluster,
        node_port_addresses: NodePortAddresses = (),
        *,
        pod_ranges: tuple[IPNetwork, ...] = (),
        external_ips: ExternalIPs = "warn",
        same_nodes: "Oracle | None" = None,
        is_honoured: bool = False,
    ) -> None:
        """`same_nodes`: an oracle of a cluster with the same Nodes and ServiceCIDRs, if any.
        `is_honoured`: the cluster is a part of one in which every such claim is honoured.

        What these may have of what they claim is then not worked out again.
        """
        if same_nodes is None:
            cluster = cluster if is_honoured else honoured(cluster, pod_ranges)
        else:
            nodes, ranges = same_nodes.cluster.nodes, same_nodes.cluster.service_ranges
            if cluster.nodes is not nodes or cluster.service_ranges is not ranges:
                cluster = msgspec.structs.replace(cluster, nodes=nodes, service_ranges=ranges)
        self.cluster: Cluster = cluster
        self._node_port_addresses = node_port_addresses
        self.external_ips: ExternalIPs = (
            external_ips if same_nodes is None else same_nodes.external_ips
        )
        self._api_servers = api_servers(cluster)
        self.world: World = world_of(
            cluster.pods.values(),
            cluster.namespaces.values(),
            cluster.nodes.values(),
            cluster.network_policies.values(),
            cluster.cluster_policies.values(),
        )
        self._ranges = tuple(p for known in cluster.service_ranges.values() for p in known.prefixes)

    def paths(
        self, packet: Packet, at: str = "", sender: IPAddress | None = None
    ) -> tuple[PromisedPath, ...]:
        """Every path this packet may take; `at` is the node at which it comes in from outside.

        `sender` is an address of the pod that really sends, where that is not the packet's source.
        "The IP that a pod sees itself as is the same IP that others see it as" (kubernetes.io,
        The Kubernetes network model), so a packet with any other source is dropped.
        """
        pod = self._pod_at(sender) if sender is not None else None
        if pod is not None and packet.source not in pod.addresses:
            because = (Cause(pod.ref, "status.podIPs"),)
            stop = Stop("forged source", packet, because, node=pod.node)
            return (PromisedPath("dropped", Fraction(1), packet, stop=stop, entered=pod.node),)
        first = self._node_of(packet.source, packet.destination) or self.cluster.nodes.get(at)
        begun = self._served(_InTransit(packet), first) if first else iter((_InTransit(packet),))
        return tuple(path for each in begun for path in self._from(each, packet, first))

    def _pod_at(self, address: IPAddress) -> Pod | None:
        return next(iter(self.cluster.pods_at(address)), None)

    def _from(
        self, transit: _InTransit, sent: Packet, first: Node | None
    ) -> Iterator[PromisedPath]:
        """The paths after the first node's Services: the sender's policies, then the next node."""
        egress = self._decision(transit.packet, "egress", transit)
        then = self._node_at(transit.packet.destination)
        ends_here = transit.stop or transit.served or then == first
        if first is None or then is None or ends_here or not egress.allowed:
            yield self._arriving(transit, sent, first, egress)
            return
        for further in self._served(transit, then):
            yield self._arriving(further, sent, first, egress)

    def _arriving(
        self, transit: _InTransit, sent: Packet, first: Node | None, egress: Decision
    ) -> PromisedPath:
        """The end of a path: the receiver's policies, then delivery."""
        seen = self._as_judged(transit)
        path = PromisedPath(
            fate=transit.fate,
            share=transit.share,
            received=seen,
            egress=egress,
            entered=first.name if first is not None else "",
            served=transit.served,
        )
        if transit.stop is not None:
            return msgspec.structs.replace(path, stop=transit.stop)
        ingress = self._decision(seen, "ingress", transit)
        # The fabric delivers a packet that a node translated as a packet from that node.
        by = self.cluster.nodes.get(transit.served[-1].node) if transit.served else None
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
        if not (egress.allowed and ingress.allowed):
            return msgspec.structs.replace(path, fate="denied")
        return msgspec.structs.replace(path, received=self._as_received(seen, transit))

    def _served(self, transit: _InTransit, node: Node) -> Iterator[_InTransit]:
        """The packet after the Services of one node: one result for each endpoint."""
        # No other Service can match this packet, on any node.
        named, destination = named_by(self.cluster, transit.packet), transit.packet.destination
        world = service.World(
            node,
            named,
            tuple(slice_ for each in named for slice_ in self.cluster.slices_of(each)),
            node.zone,
            self._node_port_addresses,
            service_ranges=self._ranges,
            nodes=(*self.cluster.nodes_at(destination), *self.cluster.nodes_around(destination)),
            api_servers=self._api_servers,
            external_ips=self.external_ips,
        )
        packet = transit.packet
        said = service.answer(world, packet)
        match said.action:
            case "pass":
                yield transit
            case "dnat":
                share = transit.share / len(said.backends)
                for address, port in sorted(said.backends, key=lambda b: (sort_key(b[0]), b[1])):
                    to = msgspec.structs.replace(packet, destination=address, destination_port=port)
                    done = Served(node.name, packet, to, len(said.backends), said.masquerade)
                    yield _InTransit(to, share, (*transit.served, done))
            case "reject" | "drop":
                fate: Fate = "refused" if said.action == "reject" else "dropped"
                stop = at_service(self.cluster, packet, node.name)
                yield _InTransit(packet, transit.share, transit.served, stop, fate)

    def _as_judged(self, transit: _InTransit) -> Packet:
        """The packet as the policies of the receiver's node see it.

        A node masquerades a packet as it leaves: after that node's policies, before those of any
        other node.
        """
        for done in transit.served:
            receiver = self.world.pods.get(transit.packet.destination)
            if done.masquerade and (receiver is None or receiver.node != done.node):
                return self._masqueraded(transit.packet, done.node)
        return transit.packet

    def _as_received(self, judged: Packet, transit: _InTransit) -> Packet:
        """The packet as its receiver sees it.

        Also a pod that a Service leads back to itself sees its node: it would answer a packet from
        its own address without sending anything, so that the answer stays untranslated.
        """
        for done in transit.served:
            if done.masquerade or done.endpoint.source == done.endpoint.destination:
                return self._masqueraded(judged, done.node)
        return judged

    def _masqueraded(self, packet: Packet, node: str) -> Packet:
        own = self.cluster.nodes[node].address(packet.source.version)
        return msgspec.structs.replace(packet, source=own) if own else packet

    def _decision(self, packet: Packet, direction: Direction, transit: _InTransit) -> Decision:
        return policy.decision(self.world, packet, direction, via_service=bool(transit.served))

    def _node_of(self, source: IPAddress, destination: IPAddress) -> Node | None:
        """The first node: the sender's own, or for a sender outside the node that it addresses."""
        pod = self.world.pods.get(source)
        if pod is not None:
            return self.cluster.nodes.get(pod.node)
        return self._node_at(source) or self._node_at(destination)

    def _node_at(self, address: IPAddress) -> Node | None:
        found = self.cluster.nodes_at(address)
        return next((node for node in found if address in node.addresses), None)

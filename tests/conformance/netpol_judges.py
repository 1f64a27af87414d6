"""Who is asked whether a packet gets through: each judge answers for one world of API objects."""

from collections.abc import Callable, Mapping

from steppe.kube.policies import Direction
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.net.ports import OTHER
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World, is_own_node
from steppe.policy.guards import Piece, guard_of
from steppe.policy.identities import Identities, Identity
from tests.conformance.netpol_walk import walked

Judge = Callable[[World], Callable[[Packet], bool]]


def spec(world: World) -> Callable[[Packet], bool]:
    """The API's text."""
    return lambda packet: verdict(world, packet).allowed


def guards(world: World) -> Callable[[Packet], bool]:
    """What is compiled from policies: identities and guards."""
    return _Guards(world).lets_through


class _Guards:
    def __init__(self, world: World) -> None:
        self._world = world
        policies, cluster = world.network_policies, world.cluster_policies
        spaces = world.namespaces.values()
        self._identities: dict[Direction, Identities] = {
            "ingress": Identities("ingress", policies, cluster, spaces),
            "egress": Identities("egress", policies, cluster, spaces),
        }
        self._pieces: dict[tuple[Direction, IPAddress, IPAddress], tuple[Piece, ...]] = {}

    def lets_through(self, packet: Packet) -> bool:
        sender, receiver = packet.source, packet.destination
        return self._fate("egress", sender, receiver, packet) and self._fate(
            "ingress", receiver, sender, packet
        )

    def _fate(self, direction: Direction, own: IPAddress, other: IPAddress, packet: Packet) -> bool:
        pod = self._world.pods.get(own)
        if pod is None or other in pod.addresses:
            return True
        if direction == "ingress" and is_own_node(self._world, pod, other):
            return True
        key = (direction, own, other)
        if key not in self._pieces:
            namespace = self._world.namespaces.get(pod.namespace)
            policies = self._world.network_policies, self._world.cluster_policies
            guard = guard_of(pod, namespace, direction, *policies)
            self._pieces[key] = guard.pieces(self._identity(direction, other))
        protocol = OTHER if packet.protocol == "ICMP" else packet.protocol
        return any(
            piece.allowed
            for piece in self._pieces[key]
            if piece.protocol == protocol and piece.first <= packet.destination_port <= piece.last
        )

    def _identity(self, direction: Direction, address: IPAddress) -> Identity:
        identities = self._identities[direction]
        pod = self._world.pods.get(address)
        if pod is not None:
            return identities.of_pod(pod, address)
        for node in self._world.nodes.values():
            if address in (*node.addresses, *node.external_addresses):
                return identities.of_node(node, address)
        return identities.of_other(address)


JUDGES: Mapping[str, Judge] = {"spec": spec, "guards": guards, "walk": walked}

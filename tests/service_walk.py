"""What the compiled tables do with a packet on one node, in the terms of the spec."""

from collections.abc import Iterable

import msgspec

from steppe.dataplane.nft.masquerade import cluster_elements, local_pod_elements
from steppe.dataplane.nft.services import hairpin_elements, service_claims, service_range_elements
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.kube.cause import Cause, Problem
from steppe.kube.claims import NodeClaims
from steppe.kube.objects import Node, Workload
from steppe.kube.services import ServiceRange
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.oracle.service import Backend, World
from steppe.service.backends import Vantage, service_table
from steppe.service.claims import ServiceClaims
from steppe.service.ownership import FrontendOwners
from steppe.state.node import NodeState, settle
from steppe.walk.nft import Ruleset, State
from steppe.walk.view import NodeView


class Fate(msgspec.Struct, frozen=True):
    """`masqueraded` holds the backends that see the node's address as the sender's."""

    action: str
    backends: frozenset[Backend] = frozenset()
    masqueraded: frozenset[Backend] = frozenset()


def tables(
    world: World, workloads: Iterable[Workload] = (), peers: Iterable[Node] = ()
) -> tuple[NodeState, tuple[Problem, ...]]:
    """The elements of a world's node."""
    node = msgspec.structs.replace(world.node, zone=world.zone)
    vantage = Vantage.of(node, world.node_port_addresses)
    range_ = ServiceRange("kubernetes", world.service_ranges)
    claims = NodeClaims.of((), (node, *peers, range_))
    offers = ServiceClaims.of(claims, world.external_ips, ((each, ()) for each in world.services))
    given = tuple(map(offers.service, world.services))
    owners = FrontendOwners.of(vantage, given)

    def blocks():
        yield from local_pod_elements(world.node)
        for node in (world.node, *peers):
            yield from cluster_elements(node)
        for workload in workloads:
            yield from hairpin_elements(workload)
        yield from service_range_elements(range_.prefixes, Cause(range_.ref))
        for service in given:
            yield from offers.problems(service)
            mine = [
                s
                for s in world.slices
                if (s.namespace, s.service) == (service.namespace, service.name)
            ]
            table = service_table(vantage, service, mine, owners.owner)
            yield from table.problems
            yield from service_claims(table)

    return settle(blocks())


def ruleset(state: NodeState) -> Ruleset:
    return Ruleset(SKELETON, NodeView(state))


def fate(world: World, rules: Ruleset, packet: Packet) -> Fate:
    """What becomes of the packet in the nat chains of the node."""
    own = packet.source in world.node.addresses
    outcomes = rules.hook("output" if own else "prerouting", State(packet, local=own))
    assert sum(each.share for each, _ in outcomes) == 1
    endings = {ending for _, ending in outcomes}
    assert len(endings) == 1, "one packet, one kind of ending"
    (ending,) = endings
    if ending != "accept":
        return Fate(str(ending))
    if outcomes[0][0].packet == packet:
        return Fate("pass")
    assert len({each.share for each, _ in outcomes}) == 1, "backends are alike likely"
    backends: set[Backend] = set()
    masqueraded: set[Backend] = set()
    for each, _ in outcomes:
        backend = (each.packet.destination, each.packet.destination_port)
        assert backend not in backends
        backends.add(backend)
        ((_, end),) = rules.hook("postrouting", each)
        if end == "masquerade":
            masqueraded.add(backend)
    return Fate("dnat", frozenset(backends), frozenset(masqueraded))


def leaves(world: World, backend: IPAddress, inside: Iterable[Node]) -> bool:
    """Whether a backend is none of the cluster's."""
    nodes = (world.node, *inside)
    return not any(backend in node.addresses or node.has_pods_at(backend) for node in nodes)

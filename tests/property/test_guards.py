"""A guard's answer to an identity is the spec's decision, for every peer and every port."""

from itertools import pairwise

import pytest
from hypothesis import given, settings

from steppe.kube.policies import Direction
from steppe.net.packet import Packet
from steppe.net.ports import LAST_PORT, OTHER
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World, is_own_node
from steppe.policy.guards import Guard, Piece, guard_of
from tests.policy_worlds import worlds
from tests.property.test_identities import DIRECTIONS, everybody, identities_of

FEW = settings(max_examples=40, deadline=None)


def guard(world: World, direction: Direction, pod) -> Guard:
    namespace = world.namespaces.get(pod.namespace)
    return guard_of(pod, namespace, direction, world.network_policies, world.cluster_policies)


def probes(piece: Piece):
    """A packet's protocol and port at both ends of a piece."""
    if piece.protocol == OTHER:
        return [("ICMP", 0)]
    return [(piece.protocol, piece.first), (piece.protocol, piece.last)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@FEW
@given(world=worlds())
def test_pieces_are_what_the_spec_decides(direction, world) -> None:
    peers = everybody(world, direction)
    for own, pod in world.pods.items():
        pieces_of = {i: guard(world, direction, pod).pieces(i) for i in set(peers.values())}
        for other, identity in peers.items():
            if other.version != own.version or other in pod.addresses:
                continue
            if direction == "ingress" and is_own_node(world, pod, other):
                continue
            for piece in pieces_of[identity]:
                for protocol, port in probes(piece):
                    ends = (other, own) if direction == "ingress" else (own, other)
                    found = verdict(world, Packet(*ends, protocol, 40000, port))
                    decision = found.ingress if direction == "ingress" else found.egress
                    assert (piece.allowed, piece.because) == (decision.allowed, decision.because)


@FEW
@given(world=worlds())
def test_pieces_cover_every_port_once_and_neighbours_differ(world) -> None:
    for direction in DIRECTIONS:
        identities = set(everybody(world, direction).values())
        for pod in world.pods.values():
            for identity in identities:
                pieces = guard(world, direction, pod).pieces(identity)
                for protocol in ("TCP", "UDP", "SCTP"):
                    own = [piece for piece in pieces if piece.protocol == protocol]
                    assert (own[0].first, own[-1].last) == (0, LAST_PORT)
                    for before, after in pairwise(own):
                        assert before.last + 1 == after.first
                        fates = [(piece.allowed, piece.because) for piece in (before, after)]
                        assert fates[0] != fates[1]


@pytest.mark.parametrize("direction", DIRECTIONS)
@FEW
@given(world=worlds())
def test_a_pod_meets_itself_through_a_service_as_the_spec_decides(direction, world) -> None:
    identities = identities_of(world, direction)
    for own, pod in world.pods.items():
        for piece in guard(world, direction, pod).itself(identities.of_pod(pod, own)):
            for protocol, port in probes(piece):
                found = verdict(world, Packet(own, own, protocol, 40000, port), via_service=True)
                decision = found.ingress if direction == "ingress" else found.egress
                assert piece.allowed == decision.allowed

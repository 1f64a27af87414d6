"""What policies put into the tables of a pod's own node: elements only, never a rule.

    ingress_guarded4   10.244.1.5                                  an ingress policy selects the pod
    ingress_peer4      10.244.2.7 : 3735928559                     a peer's identity, as a number
    ingress_block4     10.0.0.0/8 : 1146372133                     all others in an ipBlock's prefix
    ingress_allowed4   3735928559 . 10.244.1.5 : goto ingress-allow-tcp-80
    ingress_anyone4    10.244.1.5 : goto ingress-allow-udp-53      peers without such an element
    itself4            10.244.1.5 . 10.244.1.5 : 1                 a pod that connects to itself

Egress has the same maps; there the peers are receivers. A peer that no rule of this node's pods
selects has no element: its identity is number 0 (policy/numbers.py).
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import nsmallest

from steppe.dataplane.nft.policy_chains import allowing
from steppe.dataplane.nft.sets import ITSELF as ITSELF_MAP
from steppe.dataplane.nft.sets import policy_sets
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Workload
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.ports import OTHER, PortRange
from steppe.policy.guards import Guard, Piece
from steppe.policy.numbers import ITSELF
from steppe.policy.rulings import MOST_NAMED, Ruling
from steppe.state.claim import Claim
from steppe.state.nft import Element, ElementKey
from steppe.state.node import NodeClaim


def guard_claims(workload: Workload, guard: Guard, anyone: Ruling) -> Iterator[NodeClaim]:
    """That policies guard the pod, and what they allow for every peer.

    Of very many policies the first of each kind are named: a pod under 990 would have 8,000 claims.
    """
    sets = policy_sets(guard.direction)
    because = (*guard.isolated[:MOST_NAMED], *guard.subject[:MOST_NAMED])
    for own in workload.addresses:
        for cause in because:
            yield Claim(sets.guarded.key(own), Element(), cause)
            yield Claim(ITSELF_MAP.key(own, own), Element((ITSELF,)), cause)
    if anyone.ports:
        for own in workload.addresses:
            yield from _ruling_claims(sets.anyone.key(own), anyone)


def allowed_claims(
    number: int, addresses: Iterable[IPAddress], found: Ruling
) -> Iterator[NodeClaim]:
    """What the policies of the pod with these addresses allow for peers with this number."""
    allowed = policy_sets(found.direction).allowed
    for own in addresses:
        yield from _ruling_claims(allowed.key(number, own), found)


def overfull(found: Ruling) -> Iterator[Problem]:
    """A Problem if a ruling has more port ranges than fit into a chain's name; they are denied."""
    _, left_out = _chain(found)
    if left_out:
        first = left_out[0]
        message = (
            f"{len(left_out)} ranges of ports from {first.protocol.lower()} {first.first} on are "
            "too many for one peer and stay closed; use endPort for wider ranges"
        )
        # Once an object: a rule has a range or two, and the object has too many of them.
        yield from (Problem(cause, message) for cause in _one_each(found.because))


def peer_claim(direction: Direction, address: IPAddress, number: int, cause: Cause) -> NodeClaim:
    """The identity's number of a peer, for one of its addresses."""
    return Claim(policy_sets(direction).peer.key(address), Element((number,)), cause)


def block_claims(
    direction: Direction, prefix: IPNetwork, number: int, rules: frozenset[Cause]
) -> Iterator[NodeClaim]:
    """The identity's number of a prefix."""
    key = policy_sets(direction).block.key(prefix)
    for cause in _first_named(rules):
        yield Claim(key, Element((number,)), cause)


@lru_cache(maxsize=256)  # an except list makes a hundred prefixes of one
def _first_named(rules: frozenset[Cause]) -> tuple[Cause, ...]:
    return tuple(nsmallest(MOST_NAMED, rules) if len(rules) > MOST_NAMED else rules)


def _one_each(causes: Iterable[Cause]) -> Iterable[Cause]:
    """The first cause of each object."""
    return {cause.ref: cause for cause in reversed(tuple(causes))}.values()


def _ruling_claims(key: ElementKey, found: Ruling) -> Iterator[NodeClaim]:
    chain, _ = _chain(found)
    for cause in found.because:
        yield Claim(key, Element((chain,)), cause)


@lru_cache(maxsize=4096)  # each is computed again for every pod of a group
def _chain(found: Ruling) -> tuple[str, tuple[PortRange, ...]]:
    return allowing(found.direction, map(_ports, found.ports))


def _ports(piece: Piece) -> PortRange:
    if piece.protocol == OTHER:
        return PortRange(OTHER, 0, 0)
    return PortRange(piece.protocol, piece.first, piece.last)

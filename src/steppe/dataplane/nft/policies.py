"""What policies put into the tables of a pod's own node: elements only, never a rule.

    ingress_guarded4   10.244.1.5                                  policies look at what it receives
    ingress_peer4      10.244.2.7 : 3735928559                     a peer's identity, as a number
    ingress_block4     10.0.0.0/8 : 1146372133                     that of all others in a prefix
    ingress_allowed4   3735928559 . 10.244.1.5 : goto ingress-allow-tcp-80
    ingress_anyone4    10.244.1.5 : goto ingress-allow-udp-53      whoever has no such element
    itself4            10.244.1.5 . 10.244.1.5 : 1                 a pod that calls itself

Egress has the same, with receivers for peers. A peer that no rule of this node's pods takes has no
element: it is nobody in particular, which is number 0. Numbers are made from what an identity
stands for, so a restarted agent, and any other, finds the same.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

import msgspec

from steppe.dataplane.nft import policy_chains
from steppe.dataplane.nft.policy_chains import Span, allowing, common, denied
from steppe.dataplane.nft.sets import ITSELF as ITSELF_MAP
from steppe.dataplane.nft.sets import policy_sets
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Workload
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress, IPNetwork
from steppe.policy.guards import OTHER, Guard, Piece
from steppe.policy.identities import NOBODY, Identity
from steppe.state.claim import Claim
from steppe.state.nft import Element, ElementKey
from steppe.state.node import NodeClaim

NO_NUMBER = 0
ITSELF = 1
_FIRST_HASH = 2

Numbering = Callable[[Identity], int]


def number_of(identity: Identity) -> int:
    """The number that stands for an identity: 32 bits of a hash of it."""
    if identity == NOBODY:
        return NO_NUMBER
    rules = sorted(map(str, identity.rules))
    ports = sorted(f"{port.protocol} {port.number} {port.name}" for port in identity.ports)
    digest = sha256("\n".join((*rules, "", *ports)).encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_HASH)


class Verdict(msgspec.Struct, frozen=True):
    """What a guard makes of an identity: a chain, why, and the ports it has no room for."""

    chain: str
    because: tuple[Cause, ...]
    left_out: tuple[Span, ...] = ()


def verdict(guard: Guard, answers: Iterable[tuple[Piece, ...]]) -> Verdict:
    """What all of these answers let through: one, unless identities share a number."""
    causes: dict[Cause, None] = {}
    spans: list[Span] | None = None
    for pieces in answers:
        allowed = [piece for piece in pieces if piece.allowed]
        for piece in allowed or pieces:
            causes.update(dict.fromkeys(piece.because))
        here = [_span(piece) for piece in allowed]
        spans = here if spans is None else common(spans, here)
    chain, left_out = allowing(guard.direction, spans or ())
    return Verdict(chain, tuple(causes) or guard.because, left_out)


def guard_claims(workload: Workload, guard: Guard, anyone: Verdict) -> Iterator[NodeClaim]:
    """That policies look at the pod, and what they let through whoever the peer is."""
    direction, sets = guard.direction, policy_sets(guard.direction)
    for own in workload.addresses:
        for cause in guard.because:
            yield Claim(sets.guarded.key(own), Element(), cause)
            yield Claim(ITSELF_MAP.key(own, own), Element((ITSELF,)), cause)
    if anyone.chain != denied(direction):
        for own in workload.addresses:
            yield from _verdict_claims(sets.anyone.key(own), anyone)


def allowed_claims(
    direction: Direction, number: int, addresses: Iterable[IPAddress], found: Verdict
) -> Iterator[NodeClaim | Problem]:
    """What the pod with these addresses lets through for peers of this number."""
    allowed = policy_sets(direction).allowed
    for own in addresses:
        yield from _verdict_claims(allowed.key(number, own), found)


def overfull(found: Verdict) -> Iterator[Problem]:
    """Ports that stay closed because there are too many ranges of them."""
    if found.left_out:
        first = found.left_out[0]
        message = (
            f"{len(found.left_out)} ranges of ports from {first.protocol} {first.first} on are too "
            "many for one peer and stay closed; use endPort for wider ranges"
        )
        yield from (Problem(cause, message) for cause in found.because)


def peer_claim(direction: Direction, address: IPAddress, number: int, cause: Cause) -> NodeClaim:
    """The number of a peer at one of its addresses."""
    return Claim(policy_sets(direction).peer.key(address), Element((number,)), cause)


def block_claims(
    direction: Direction, prefix: IPNetwork, number: int, rules: Iterable[Cause]
) -> Iterator[NodeClaim]:
    """The number of a prefix."""
    key = policy_sets(direction).block.key(prefix)
    for cause in rules:
        yield Claim(key, Element((number,)), cause)


def _verdict_claims(key: ElementKey, found: Verdict) -> Iterator[NodeClaim]:
    for cause in found.because:
        yield Claim(key, Element((found.chain,)), cause)


def _span(piece: Piece) -> Span:
    if piece.protocol == OTHER:
        return Span(policy_chains.OTHER)
    return Span(piece.protocol.lower(), piece.first, piece.last)

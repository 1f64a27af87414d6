"""Rulings: which ports of a pod are open to the peers with one identity number.

    guard of a pod, identities behind a number  ──▶  Ruling(direction, ports, because)

It does not say how a node enforces this: each data plane renders rulings into its own tables
(dataplane/registry.py).
"""

from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.policies import Direction
from steppe.policy.guards import Guard, Piece


class Ruling(msgspec.Struct, frozen=True, cache_hash=True):
    """The open ports, in order, as pieces without causes; all other ports are closed.

    `because` are the rules that open them, or if no port is open the causes of that.
    """

    direction: Direction
    ports: tuple[Piece, ...]
    because: tuple[Cause, ...]


def ruling(guard: Guard, answers: Iterable[tuple[Piece, ...]]) -> Ruling:
    """The ports that all of these answers allow.

    There are several only if identities share a number.
    """
    causes: dict[Cause, None] = {}
    ports: tuple[Piece, ...] | None = None
    for pieces in answers:
        allowed = [piece for piece in pieces if piece.allowed]
        for piece in allowed or pieces:
            causes.update(dict.fromkeys(piece.because))
        here = tuple(Piece(piece.protocol, piece.first, piece.last, True) for piece in allowed)
        ports = here if ports is None else common(ports, here)
    return Ruling(guard.direction, ports or (), tuple(causes) or guard.because)


def common(some: Iterable[Piece], others: Iterable[Piece]) -> tuple[Piece, ...]:
    """The ports that are in both."""
    apart = tuple(others)
    return tuple(
        Piece(one.protocol, max(one.first, other.first), min(one.last, other.last), True)
        for one in some
        for other in apart
        if one.protocol == other.protocol and one.first <= other.last and other.first <= one.last
    )

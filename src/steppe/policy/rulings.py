"""Rulings: which ports of a pod are open to the peers with one identity number.

    guard of a pod, identities behind a number  ──▶  Ruling(direction, ports, because)

It does not say how a node enforces this: each data plane renders rulings into its own tables
(dataplane/registry.py).
"""

from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.policies import Direction
from steppe.net.ports import PROTOCOLS
from steppe.policy.guards import Guard, Piece
from steppe.policy.sweep import swept

MOST_NAMED = 8
"""How many causes an element names: with thousands of rules they would be most of the memory."""


class Ruling(msgspec.Struct, frozen=True, cache_hash=True):
    """The open ports, in order, as pieces without causes; all other ports are closed.

    `because` are the rules that open them, or those that close all where none is open; of very
    many the first `MOST_NAMED`, for each element of each peer names them.
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
    because = tuple(causes) or guard.because
    return Ruling(guard.direction, ports or (), because[:MOST_NAMED])


def common(some: Iterable[Piece], others: Iterable[Piece]) -> tuple[Piece, ...]:
    """The ports that are in both, in order."""
    apart = tuple(some), tuple(others)
    found: list[Piece] = []
    for protocol in PROTOCOLS:
        spans = [[(p.first, p.last) for p in pieces if p.protocol == protocol] for pieces in apart]
        found += (
            Piece(protocol, first, last, True)
            for first, last, active in swept(spans)
            if len(active) == len(spans)
        )
    return tuple(found)

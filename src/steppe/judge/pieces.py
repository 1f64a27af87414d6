"""What two guards decide together, as port ranges with causes."""

from collections.abc import Callable, Iterable

from steppe.kube.cause import Cause
from steppe.net.ports import EVERYTHING, PortRange, PortSet, one_port
from steppe.policy.guards import Piece

ALL = tuple(Piece(r.protocol, r.first, r.last, allowed=True) for r in EVERYTHING.ranges)
"""Everything is allowed, and no policy is the cause."""


def allowed_of(pieces: Iterable[Piece]) -> PortSet:
    """The ports that these pieces allow."""
    return PortSet.of(PortRange(p.protocol, p.first, p.last) for p in pieces if p.allowed)


def both_of(egress: Iterable[Piece], ingress: Iterable[Piece]) -> tuple[Piece, ...]:
    """The decision of two guards together: "If either side does not allow the connection, it will
    not happen" (Network Policies). A denial has only the causes of the guard that denies.
    """
    return _together(egress, ingress, all)


def either_of(some: Iterable[Piece], others: Iterable[Piece]) -> tuple[Piece, ...]:
    """What one of two decisions allows."""
    return _together(some, others, any)


_Both = Callable[[tuple[bool, bool]], bool]


def _together(
    some: Iterable[Piece], others: Iterable[Piece], is_allowed: _Both
) -> tuple[Piece, ...]:
    theirs = tuple(others)
    found: list[Piece] = []
    for own in some:
        for other in theirs:
            first, last = max(own.first, other.first), min(own.last, other.last)
            if own.protocol == other.protocol and first <= last:
                allowed = is_allowed((own.allowed, other.allowed))
                found.append(_joint(own, other, first, last, allowed=allowed))
    return tuple(found)


def _joint(own: Piece, other: Piece, first: int, last: int, *, allowed: bool) -> Piece:
    said: tuple[Cause, ...] = ()
    for piece in (own, other):
        if piece.allowed == allowed:
            said += piece.because
    return Piece(own.protocol, first, last, allowed, said)


def piece_at(pieces: Iterable[Piece], protocol: str, port: int) -> Piece | None:
    """The piece that contains one port; None if there are no pieces."""
    (wanted,) = one_port(protocol, port).ranges
    for piece in pieces:
        if piece.protocol == wanted.protocol and piece.first <= wanted.first <= piece.last:
            return piece
    return None

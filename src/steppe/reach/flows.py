"""Flows: the rows of the matrix with the objects behind them, as all outputs show them."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import msgspec

from steppe.judge.classes import VERSIONS
from steppe.kube.cause import Cause
from steppe.net.ports import PortRange, PortSet
from steppe.policy.guards import Piece
from steppe.reach.matrix import Mask, Row, bits
from steppe.reach.reach import Reach

_ASKED = 8
"""Causes are collected for this many senders of a row: the objects that deny may differ between
senders,
and nobody can use a list of thousands."""


class Flow(msgspec.Struct, frozen=True):
    """The ports of a receiver that some senders reach, and the objects that allow or deny."""

    receiver: int
    row: Row
    because: tuple[Cause, ...]

    @property
    def senders(self) -> Mask:
        return self.row.senders


def flows_to(
    reach: Reach, receiver: int, senders: Mask = -1, *, exactly: bool = False
) -> tuple[Flow, ...]:
    """All flows to one group, first those with open ports.

    The flow with the most senders is last. `exactly` as in Reach.rows.
    """
    rows = sorted(
        reach.rows(receiver, senders, exactly=exactly),
        key=lambda row: (not row.ports, row.senders.bit_count()),
    )
    return tuple(Flow(receiver, row, _because(reach, receiver, row)) for row in rows)


def ports_text(row: Row) -> str:
    """The ports as text; with families if they differ."""
    text = str(row.ports)
    if row.v4 is not None and row.v6 is not None and row.v4 != row.v6:
        text = f"IPv4 {row.v4}; IPv6 {row.v6}"
    if not row.unknown:
        return text
    unknown = f"not known: {row.unknown}"
    return f"{text}; {unknown}" if row.ports else unknown


def _because(reach: Reach, receiver: int, row: Row) -> tuple[Cause, ...]:
    """The causes for the first few senders, the most frequent first."""
    if row.always:
        return ()
    found: Counter[Cause] = Counter()
    for sender in islice(bits(row.senders), _ASKED):
        own: dict[Cause, None] = {}
        for version in VERSIONS:
            ports = row.version(version)
            if ports is not None:
                pieces = reach.pieces(sender, receiver, version)
                own |= dict.fromkeys(deciding(pieces, reach.wanted, allowed=bool(ports)))
        found.update(own.keys())
    return tuple(cause for cause, _ in found.most_common())


def deciding(pieces: Iterable[Piece], wanted: PortSet, *, allowed: bool) -> tuple[Cause, ...]:
    """The causes of the pieces with wanted ports that are allowed (or denied)."""
    return tuple(
        dict.fromkeys(
            cause
            for piece in pieces
            if piece.allowed == allowed
            and PortSet((PortRange(piece.protocol, piece.first, piece.last),)) & wanted
            for cause in piece.because
        )
    )

"""Flows: the rows of reach with the objects behind them, as every output tells them."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import msgspec

from steppe.kube.cause import Cause
from steppe.net.ports import PortRange, PortSet
from steppe.policy.guards import Piece
from steppe.reach.matrix import Mask, Row, bits
from steppe.reach.policy_classes import VERSIONS
from steppe.reach.reach import Reach

_ASKED = 8
"""So many senders of a row are asked for their causes: what says no may differ from one to the
other, and a list of thousands helps nobody."""


class Flow(msgspec.Struct, frozen=True):
    """What some senders reach of one receiver, and why: what lets them, or else what does not."""

    receiver: int
    row: Row
    because: tuple[Cause, ...]

    @property
    def senders(self) -> Mask:
        return self.row.senders


def flows_to(reach: Reach, receiver: int, senders: Mask = -1) -> tuple[Flow, ...]:
    """All flows to one group: those that reach something first, the most common one last."""
    rows = sorted(
        reach.rows(receiver, senders), key=lambda row: (not row.ports, row.senders.bit_count())
    )
    return tuple(Flow(receiver, row, _because(reach, receiver, row)) for row in rows)


def ports_text(row: Row) -> str:
    """The ports in words; the families apart where they differ."""
    if row.v4 is None or row.v6 is None or row.v4 == row.v6:
        return str(row.ports)
    return f"IPv4 {row.v4}; IPv6 {row.v6}"


def _because(reach: Reach, receiver: int, row: Row) -> tuple[Cause, ...]:
    """The causes for the first few senders, those of the most of them first."""
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
    """The causes of those pieces among the wanted ports that are allowed, or are not."""
    return tuple(
        dict.fromkeys(
            cause
            for piece in pieces
            if piece.allowed == allowed
            and PortSet((PortRange(piece.protocol, piece.first, piece.last),)) & wanted
            for cause in piece.because
        )
    )

"""What others have put beside Steppe's tables, as the cause of a packet that went wrong."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from steppe.findings.finding import Finding
from steppe.net.packet import Packet
from steppe.verify.stops import Stop

MTU = "mtu"
"""The kind of findings that concern large packets alone (findings/mtu.py)."""


class Went(msgspec.Struct, frozen=True):
    """How a packet went wrong: the nodes on its way, how it looks there, and what became of it.

    `lost`: it vanished, or its answer did; otherwise it arrived where, or as, it should not.
    `large`: it is its size that is wrong.
    """

    nodes: Collection[str]
    packets: Collection[Packet]
    lost: bool
    large: bool = False


def beside(found: Mapping[str, Iterable[Finding]], went: Went) -> Stop | None:
    """The finding that explains it best, and on which node; None if none concerns it."""
    fitting = [
        (node, each)
        for node in sorted(went.nodes)
        for each in found.get(node, ())
        if _fits(each, went) and any(map(each.concerns, went.packets))
    ]
    if not fitting:
        return None
    node, best = min(fitting, key=lambda pair: _rank(pair[1], went))
    return Stop(node, f"{best.entry}: {best.effect}")


def _fits(each: Finding, went: Went) -> bool:
    if (each.kind == MTU) != went.large:
        return False
    # One that only opens loses nothing, and changes no address.
    return not (went.lost and each.opens and each.walked)


def _rank(each: Finding, went: Went) -> tuple[bool, bool]:
    """The surest first; for what arrived, that which lets through what policies stop."""
    return each.opens == went.lost, not each.sure

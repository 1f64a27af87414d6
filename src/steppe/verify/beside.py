"""What others have put beside Steppe's tables, as the cause of a packet that went wrong."""

import re
from collections.abc import Collection, Iterable, Mapping

import msgspec

from steppe.findings.finding import OWN_TABLE, Finding
from steppe.findings.own_table import GONE
from steppe.net.packet import Packet
from steppe.state.nft import ElementKey
from steppe.verify.stops import Differing, Stop

PACKET_RULE = "packet rule"
_IN_POD = "in pod "
_HOOK = re.compile(r" \(hook [a-z]+\)(?=:)")
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
    """The finding that explains it best, and on which node; None if none concerns it.

    Where none does, one is taken by which packets to an end of this one surely go astray, whoever
    sends them: the kernel asks for the way back to a sender, too.
    """
    known = [(node, each) for node in sorted(went.nodes) for each in found.get(node, ())]
    known = [(node, each) for node, each in known if _fits(each, went)]
    for is_it in (Finding.concerns, _leads_astray):
        fitting = [(n, each) for n, each in known if any(is_it(each, p) for p in went.packets)]
        if fitting:
            node, best = min(fitting, key=lambda pair: _rank(pair[1], went))
            return Stop(node, _named(best))
    return None


def _named(each: Finding) -> str:
    """A rule of another program as a trace names it, so that both are one cause."""
    if each.kind == PACKET_RULE and not each.entry.startswith(_IN_POD):
        return _HOOK.sub("", each.entry)
    return f"{each.entry}: {each.effect}"


def with_whole_table(
    why: Iterable[Stop | Differing], found: Mapping[str, Iterable[Finding]]
) -> tuple[Stop | Differing, ...]:
    """The same causes; where a node has no table at all, that and not each of its elements."""
    gone = {
        node: Stop(node, _named(each))
        for node, some in found.items()
        for each in some
        if (each.kind, each.entry) == (OWN_TABLE, GONE)
    }
    causes = (gone.get(one.node, one) if _is_element(one) else one for one in why)
    return tuple(dict.fromkeys(causes))


def _is_element(one: Stop | Differing) -> bool:
    return isinstance(one, Differing) and isinstance(one.state.key, ElementKey)


def _leads_astray(each: Finding, packet: Packet) -> bool:
    ends = packet.source, packet.destination
    led = (prefix for flow in each.affects for prefix in flow.destinations)
    return each.sure and each.walked and any(end in prefix for prefix in led for end in ends)


def _fits(each: Finding, went: Went) -> bool:
    if (each.kind == MTU) != went.large:
        return False
    # One that only opens loses nothing, and changes no address.
    return not (went.lost and each.opens and each.walked)


def _rank(each: Finding, went: Went) -> tuple[bool, bool]:
    """The surest first; for what arrived, that which lets through what policies stop."""
    return each.opens == went.lost, not each.sure

"""Something on a node that is not Steppe's, what it does to which flows, and the cure."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from steppe.net.address import IPNetwork, parse_prefix
from steppe.net.packet import Packet
from steppe.state.surroundings import Ports

Json = Any

OWN_TABLE = "own table"
"""The kind of what somebody has changed in Steppe's own table."""


class Affected(msgspec.Struct, frozen=True):
    """Packets from and to these addresses; () and "" is any. `beside`: to none of these.

    `answers`: answers are looked at as well; else only the first packet of a flow is.
    """

    sources: tuple[IPNetwork, ...] = ()
    destinations: tuple[IPNetwork, ...] = ()
    protocol: str = ""
    ports: tuple[Ports, ...] = ()
    answers: bool = True
    beside: tuple[IPNetwork, ...] = ()

    def concerns(self, packet: Packet) -> bool:
        """Whether the packet is among them, or its answer."""
        return self._has(packet) or (self.answers and self._has(packet.answer))

    def _has(self, packet: Packet) -> bool:
        port = packet.destination_port
        return (
            _within(packet.source in each for each in self.sources)
            and _within(packet.destination in each for each in self.destinations)
            and self.protocol in ("", packet.protocol.lower())
            and _within(first <= port <= last for first, last in self.ports)
            and not any(packet.destination in each for each in self.beside)
        )


def _within(found: Any) -> bool:
    known = tuple(found)
    return not known or any(known)


class Finding(msgspec.Struct, frozen=True):
    """`entry`: the thing, as its own command shows it. `effect`: what it does to which flows.

    `sure`: flows of the cluster are lost or led elsewhere for certain; otherwise they may be.
    `walked`: a walk through the node's tables takes it into account, so that a flow whose walk
    arrives is not concerned. `opens`: flows may arrive that Steppe's tables stop.
    """

    kind: str
    entry: str
    effect: str
    cure: str
    sure: bool = False
    walked: bool = False
    opens: bool = False
    affects: tuple[Affected, ...] = ()

    def concerns(self, packet: Packet) -> bool:
        return any(each.concerns(packet) for each in self.affects)


MOST = 100
"""Of one kind that are told one by one: another proxy or network plugin has thousands."""


def at_most(found: Iterable[Finding], others: Finding) -> Iterator[Finding]:
    """The first MOST; `others`, with their number before its entry, stands for those left."""
    left = 0
    for number, each in enumerate(found):
        if number < MOST:
            yield each
        else:
            left += 1
    if left:
        yield msgspec.structs.replace(others, entry=f"{left} {others.entry}")


def finding_document(found: Finding) -> Json:
    """A finding as JSON."""
    return {
        "kind": found.kind,
        "entry": found.entry,
        "text": found.effect,
        "cure": found.cure,
        "sure": found.sure,
        "walked": found.walked,
        "opens": found.opens,
        "affects": [
            {
                "sources": [str(each) for each in flow.sources],
                "destinations": [str(each) for each in flow.destinations],
                "protocol": flow.protocol,
                "ports": [list(each) for each in flow.ports],
                "answers": flow.answers,
                "beside": [str(each) for each in flow.beside],
            }
            for flow in found.affects
        ],
    }


def finding_from(document: Json) -> Finding:
    """What `finding_document` wrote; ValueError, KeyError or TypeError for anything else."""
    return Finding(
        document["kind"],
        document["entry"],
        document["text"],
        document["cure"],
        document["sure"],
        document["walked"],
        # An agent of an earlier version does not tell of what came later.
        document.get("opens", False),
        tuple(
            Affected(
                tuple(map(parse_prefix, flow["sources"])),
                tuple(map(parse_prefix, flow["destinations"])),
                flow["protocol"],
                tuple((first, last) for first, last in flow["ports"]),
                flow["answers"],
                tuple(map(parse_prefix, flow.get("beside", ()))),
            )
            for flow in document["affects"]
        ),
    )

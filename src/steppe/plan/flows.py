"""Tracked flows that would go on sending to an endpoint that is no longer there.

The kernel translates by its connection table, not by the rules, once a flow is known. A TCP peer
that is gone answers with a reset or its client gives up; a UDP or SCTP sender never learns. What
has never been answered learns nothing by TCP either.

What a frontend leads to is told by the service table, so it is the same for every data plane.
"""

from collections.abc import Iterable, Mapping

from steppe.net.address import IPAddress, IPNetwork
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.service.table import Backends, Frontend

Answering = frozenset[tuple[IPAddress, int]]
"""The addresses and ports that may answer what is sent to a frontend."""

ENDED: tuple[Protocol, ...] = ("UDP", "SCTP")
OPENING: tuple[Protocol, ...] = ("TCP",)
"""Of these, flows whose first packet is unanswered are looked at as well. One that began while its
Service had no rules, as when another program has flushed the table, is not translated, nor will
its retransmissions be: without its entry, the next of them is a first packet, and is."""


def frontend_of(flow: Flow) -> Frontend:
    """What the flow's sender addressed."""
    way = flow.original
    return Frontend(way.destination, flow.protocol, way.destination_port)


def frontends_within(flows: Iterable[Flow], ranges: Iterable[IPNetwork]) -> frozenset[Frontend]:
    """What these flows address, as far as it is kept for Services: theirs may be gone."""
    kept = tuple(ranges)
    return frozenset(
        front
        for front in map(frontend_of, flows)
        if any(front.address in prefix for prefix in kept)
    )


def answering(
    fronts: Iterable[Frontend], served: Mapping[Frontend, Backends]
) -> Mapping[Frontend, Answering]:
    """Who may answer for each of these; an address that no Service has answers for itself."""
    return {
        front: served[front].all if front in served else frozenset(((front.address, front.port),))
        for front in fronts
    }


def stale_flows(flows: Iterable[Flow], answers: Mapping[Frontend, Answering]) -> tuple[Flow, ...]:
    """Flows to a frontend that are answered by what it does not lead to.

    Where it leads nowhere those are all of them: its rules refuse or drop what comes next.
    """
    stale: list[Flow] = []
    for flow in flows:
        front = frontend_of(flow)
        if front in answers and (flow.reply.source, flow.reply.source_port) not in answers[front]:
            stale.append(flow)
    return tuple(stale)

"""Tracked flows that go on sending to a backend that no longer exists.

The kernel translates a tracked flow by its connection table and not by the rules. A TCP connection
to a deleted backend ends by a reset or a timeout; a UDP or SCTP sender is not notified and goes on.

A TCP connection that began while its Service had no rules is not translated either, and hangs.

The backends of a frontend come from the service table, so this is the same for every data plane.
"""

from collections.abc import Collection, Iterable, Mapping

from steppe.net.address import IPAddress, IPNetwork
from steppe.net.flow import Endpoints, Flow
from steppe.net.packet import Protocol
from steppe.service.table import Backends, Frontend

Answering = frozenset[tuple[IPAddress, int]]
"""The addresses and ports of the backends that may answer packets to a frontend."""

Answer = tuple[Protocol, Endpoints]
"""The protocol, and the ends of an answer in its own direction."""

ENDED: tuple[Protocol, ...] = ("UDP", "SCTP")
OPENING: tuple[Protocol, ...] = ("TCP",)
"""Of these protocols only flows without an answer are ended. Such a flow may have begun while its
Service had no rules, for example after another program flushed the table. Its retransmissions are
not translated until its entry is deleted: the next one is then a first packet."""


def frontend_of(flow: Flow) -> Frontend:
    """The destination that the flow's sender used."""
    way = flow.original
    return Frontend(way.destination, flow.protocol, way.destination_port)


def frontends_within(flows: Iterable[Flow], ranges: Iterable[IPNetwork]) -> frozenset[Frontend]:
    """These flows' destinations that lie in ranges of cluster IPs: the Service may be gone."""
    kept = tuple(ranges)
    return frozenset(
        front
        for front in map(frontend_of, flows)
        if any(front.address in prefix for prefix in kept)
    )


def answering(
    fronts: Iterable[Frontend], served: Mapping[Frontend, Backends]
) -> Mapping[Frontend, Answering]:
    """The addresses that may answer for each of these; one without a Service answers for itself."""
    return {
        front: served[front].all if front in served else frozenset(((front.address, front.port),))
        for front in fronts
    }


def revived(flows: Iterable[Flow], ended: Collection[Answer]) -> tuple[Flow, ...]:
    """The flows that answers of ended ones have begun, the other way round.

    An answer that is still under way when its flow is ended is the first packet of a flow from the
    receiver to the sender, and what the sender sends then belongs to it. For TCP a rule tells such
    answers by their flags; ICMP's and SCTP's begin nothing (nf_conntrack_proto_icmp.c, _sctp.c).
    """
    return tuple(flow for flow in flows if (flow.protocol, flow.original) in ended)


def answer_of(flow: Flow) -> Answer | None:
    """What an answer to this flow would begin; None if answers of its protocol begin nothing."""
    return (flow.protocol, flow.reply) if flow.protocol == "UDP" else None


def stale_flows(flows: Iterable[Flow], answers: Mapping[Frontend, Answering]) -> tuple[Flow, ...]:
    """Flows to a frontend that are translated to something that is not one of its backends.

    If it has no backends, those are all its flows: its rules refuse or drop their next packets.
    """
    stale: list[Flow] = []
    for flow in flows:
        front = frontend_of(flow)
        if front in answers and (flow.reply.source, flow.reply.source_port) not in answers[front]:
            stale.append(flow)
    return tuple(stale)

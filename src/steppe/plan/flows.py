"""Tracked flows that would go on sending to an endpoint that is no longer there.

The kernel translates by its connection table, not by the rules, once a flow is known. A TCP peer
that is gone answers with a reset or its client gives up; a UDP or SCTP sender never learns.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from steppe.net.address import IPAddress, IPNetwork
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeState

Front = tuple[IPAddress, str, int]
"""An address, a protocol in lower case and a port that a Service answers for."""
Backend = tuple[IPAddress, int]

ENDED: tuple[Protocol, ...] = ("UDP", "SCTP")
_ENDPOINTS = ("endpoint", "local_endpoint")
_MAPS = frozenset(f"{name}{version}" for name in ("service", *_ENDPOINTS) for version in (4, 6))


def fronts_of(keys: Iterable[Key]) -> frozenset[Front]:
    """The frontends, of protocols that need it, that these keys are or belong to."""
    found = (
        _front(key)
        for key in keys
        if isinstance(key, ElementKey) and key.set in _MAPS and key.key[1] != "tcp"
    )
    return frozenset(front for front in found if front is not None)


def _front(key: ElementKey) -> Front | None:
    match key.key:
        case (IPv4Address() | IPv6Address() as address, str(protocol), int(port), *_):
            return address, protocol, port
    return None


def fronts_met(flows: Iterable[Flow], state: NodeState) -> frozenset[Front]:
    """What these flows address, as far as it is kept for Services: theirs may be gone."""
    kept = [
        key.key[0]
        for key in state
        if isinstance(key, ElementKey) and key.set.startswith("service_range")
    ]
    return frozenset(
        front
        for front in map(front_of, flows)
        if any(isinstance(prefix, IPNetwork) and front[0] in prefix for prefix in kept)
    )


def front_of(flow: Flow) -> Front:
    """What the flow's sender addressed."""
    way = flow.original
    return way.destination, flow.protocol.lower(), way.destination_port


def service_of(front: Front) -> ElementKey:
    """The entry that makes it a Service's, where it is one's."""
    return ElementKey(f"service{front[0].version}", front)


def backends_of(state: NodeState, fronts: Iterable[Front]) -> Mapping[Front, frozenset[Backend]]:
    """What each of these leads to now; an address that is no frontend leads to itself."""
    return {front: frozenset(_backends(state, front)) for front in fronts}


def _backends(state: NodeState, front: Front) -> Iterator[Backend]:
    address, _, number = front
    if service_of(front) not in state:
        yield address, number
        return
    for name in _ENDPOINTS:
        # Endpoints are numbered from 0 without a gap, for the kernel to choose from.
        for index in itertools.count():
            entry = state.get(ElementKey(f"{name}{address.version}", (*front, index)))
            if entry is None or not isinstance(entry.value, Element):
                break
            match entry.value.data:
                case (IPv4Address() | IPv6Address() as endpoint, int(port)):
                    yield endpoint, port


def stale_flows(
    flows: Iterable[Flow], backends: Mapping[Front, frozenset[Backend]]
) -> tuple[Flow, ...]:
    """Flows to a frontend that are answered by what it does not lead to.

    Where it leads nowhere those are all of them: its rules refuse or drop what comes next.
    """
    stale: list[Flow] = []
    for flow in flows:
        front = front_of(flow)
        answers = (flow.reply.source, flow.reply.source_port)
        if front in backends and answers not in backends[front]:
            stale.append(flow)
    return tuple(stale)

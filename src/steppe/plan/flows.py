"""Tracked flows that would go on sending to an endpoint that is no longer there.

The kernel translates by its connection table, not by the rules, once a flow is known. A TCP peer
that is gone answers with a reset or its client gives up; a UDP or SCTP sender never learns.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

from steppe.net.address import IPAddress
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeState

Front = tuple[IPAddress, str, int]
"""An address, a protocol in lower case and a port that a Service answers for."""
Backend = tuple[IPAddress, int]

ENDED: tuple[Protocol, ...] = ("UDP", "SCTP")
_MAPS = ("endpoint4", "endpoint6", "local_endpoint4", "local_endpoint6")
_FRONTS = ("service4", "service6", *_MAPS)


def fronts_of(keys: Iterable[Key]) -> frozenset[Front]:
    """The frontends, of protocols that need it, that these keys are or belong to."""
    found = (_front(key) for key in keys if isinstance(key, ElementKey) and key.set in _FRONTS)
    return frozenset(front for front in found if front is not None and front[1] != "tcp")


def _front(key: ElementKey) -> Front | None:
    match key.key:
        case (IPv4Address() | IPv6Address() as address, str(protocol), int(port), *_):
            return address, protocol, port
    return None


def backends_of(state: NodeState, fronts: frozenset[Front]) -> Mapping[Front, frozenset[Backend]]:
    """What each of these frontends leads to now."""
    found: dict[Front, set[Backend]] = {front: set() for front in fronts}
    for key, entry in state.items():
        if not isinstance(key, ElementKey) or key.set not in _MAPS:
            continue
        front, value = _front(key), entry.value
        if front in found and isinstance(value, Element):
            match value.data:
                case (IPv4Address() | IPv6Address() as address, int(port)):
                    found[front].add((address, port))
    return {front: frozenset(backends) for front, backends in found.items()}


def stale_flows(
    flows: Iterable[Flow], backends: Mapping[Front, frozenset[Backend]]
) -> tuple[Flow, ...]:
    """Flows to a frontend that are answered by none of its endpoints.

    Where it has none, its rules refuse or drop what comes next. A flow to the address itself,
    which nothing ever translated, is stale only once there are endpoints that it should go to.
    """
    stale: list[Flow] = []
    for flow in flows:
        addressed = (flow.original.destination, flow.original.destination_port)
        serving = backends.get((addressed[0], flow.protocol.lower(), addressed[1]))
        answers = (flow.reply.source, flow.reply.source_port)
        if serving is None or answers in serving:
            continue
        if serving or answers != addressed:
            stale.append(flow)
    return tuple(stale)

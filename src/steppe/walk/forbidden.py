"""Tracked flows that policies no longer allow: rules are applied to new connections only."""

from collections.abc import Container, Iterable

from steppe.dataplane.nft.sets import EGRESS, INGRESS
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.net.address import IPAddress
from steppe.net.flow import Flow
from steppe.net.packet import Packet
from steppe.state.node import NodeState
from steppe.walk.nft import Ruleset, State
from steppe.walk.view import NodeView


def forbidden(
    flows: Iterable[Flow], state: NodeState, own: Container[IPAddress]
) -> tuple[Flow, ...]:
    """The flows that a node with these addresses and policies would deny if they began now.

    Flows are judged as policies see them: from the real sender to the endpoint that answers.
    """
    judged = [
        flow
        for flow in flows
        if _has_guard(flow, state)
        # "Traffic is allowed to a pod if … the traffic source is the pod's local node".
        and flow.original.source not in own
    ]
    if not judged:  # so that the state, which may be large, is not searched
        return ()
    ruleset = Ruleset(SKELETON, NodeView(state))
    return tuple(
        flow
        for flow in judged
        if _is_dropped(ruleset, flow, "input" if flow.reply.source in own else "forward")
    )


def _has_guard(flow: Flow, state: NodeState) -> bool:
    sender, receiver = flow.original.source, flow.reply.source
    return EGRESS.guarded.key(sender) in state or INGRESS.guarded.key(receiver) in state


def _is_dropped(ruleset: Ruleset, flow: Flow, point: str) -> bool:
    # An ICMP flow has its query's identifier in place of a port; the packet has none.
    own = flow.original.source_port if flow.protocol != "ICMP" else 0
    ends = flow.original.source, flow.reply.source
    packet = Packet(*ends, flow.protocol, own, flow.reply.source_port)
    return any(ending == "drop" for _, ending in ruleset.hook(point, State(packet)))

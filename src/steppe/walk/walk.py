"""A packet through the nodes' tables, as the kernels would take it.

    sender ─▶ node ─▶ prerouting, output ─▶ routes ─▶ forward, input ─▶ postrouting ─▶ pod's link
                            ▲                                       │
                            └────────────── next node ◀─────────────┴─▶ outside

A Service chooses an endpoint at random, so there may be several paths. What lies between nodes is
not Steppe's: the walk takes it that the underlay delivers to every node address, and knows nothing
of pod prefixes.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.net.address import IPAddress, of_version
from steppe.net.packet import Packet
from steppe.state.node import NodeState
from steppe.state.route import Route
from steppe.state.skeleton import SKELETON
from steppe.state.workload import workloads_on
from steppe.walk.nft import Ruleset, State
from steppe.walk.trace import End, Step, Trace
from steppe.walk.view import NodeView

MAX_HOPS = 8
"""More nodes than any path crosses; a packet that visits more goes in a circle."""


class _Here(msgspec.Struct, frozen=True):
    """The packet at a node: where it is and what it looks like by now."""

    node: str
    state: State

    @property
    def source(self) -> IPAddress:
        return self.state.packet.source

    @property
    def destination(self) -> IPAddress:
        return self.state.packet.destination


class Walker:
    """Walks packets over one cluster and one set of tables, desired or read back alike."""

    def __init__(self, cluster: Cluster, states: Mapping[str, NodeState]) -> None:
        self._cluster = cluster
        self._views = {name: NodeView(state) for name, state in states.items()}
        self._rulesets = {name: Ruleset(SKELETON, view) for name, view in self._views.items()}
        self._node_of: dict[IPAddress, str] = {}
        self._pod_of: dict[tuple[str, str], str] = {}
        self._pod_node: dict[IPAddress, str] = {}
        for node in cluster.nodes.values():
            self._node_of.update(dict.fromkeys(node.addresses, node.name))
            for workload in workloads_on(cluster, node.name):
                self._pod_of[node.name, workload.link] = f"{workload.namespace}/{workload.name}"
                self._pod_node.update(dict.fromkeys(workload.addresses, node.name))

    def walk(self, packet: Packet) -> Trace:
        """The path of a packet that has only one; of several, the first."""
        return self.walks(packet)[0]

    def walks(self, packet: Packet, at: str = "") -> tuple[Trace, ...]:
        """Every path from whoever holds the packet's source address.

        Senders outside reach the cluster at this node, or else at the one they address.
        """
        start = self._start(packet) or at
        if not start:
            reason = "the underlay has no route to pods; only nodes are reached from outside"
            return (Trace((), End("dropped", source=packet.source, reason=reason)),)
        own = self._node_of.get(packet.source) == start
        return tuple(self._paths(_Here(start, State(packet, own)), (), MAX_HOPS))

    def _paths(self, at: _Here, steps: tuple[Step, ...], hops: int) -> Iterator[Trace]:
        if not hops:
            reason = f"still under way after {MAX_HOPS} nodes: the routes lead in a circle"
            end = End("dropped", source=at.source, reason=reason)
            yield Trace(steps, end, at.state.share)
            return
        for state, stop in self._enter(at):
            taken = [*steps, *(Step(at.node, "service", *met) for met in state.met)]
            entered = _Here(at.node, msgspec.structs.replace(state, met=()))
            then = stop or self._hop(entered, taken)
            if isinstance(then, End):
                yield Trace(tuple(taken), then, state.share)
            else:
                yield from self._paths(then, tuple(taken), hops - 1)

    def _enter(self, at: _Here) -> Iterator[tuple[State, End | None]]:
        """What the node's Services make of the packet before it is routed."""
        point = "output" if at.state.local else "prerouting"
        for state, ending in self._rulesets[at.node].hook(point, at.state):
            if ending == "reject":
                reason = f"nothing serves {at.destination} {at.state.packet.destination_port}"
                yield state, End("refused", source=at.source, reason=reason)
            elif ending == "drop":
                yield state, End("dropped", source=at.source, reason=f"{at.node}'s rules drop it")
            else:
                yield state, None

    def _start(self, packet: Packet) -> str | None:
        """The first node: the sender's own, or for outside senders the one they address."""
        for where in (self._pod_node, self._node_of):
            if packet.source in where:
                return where[packet.source]
        return self._node_of.get(packet.destination)

    def _hop(self, at: _Here, steps: list[Step]) -> _Here | End:
        """What one node does with the packet."""
        local = self._node_of.get(at.destination) == at.node
        forbidden = self._filtered(at, "input" if local else "forward", steps)
        if forbidden is not None:
            return forbidden
        if local:
            ref = self._cluster.nodes[at.node].ref
            cause = Cause(ref, "status.addresses")
            steps.append(Step(at.node, "local", f"{at.destination} is the node's own", (cause,)))
            return End("node", at.node, at.source)
        view = self._views[at.node]
        found = view.route(at.source, at.destination)
        if found is None:
            return self._underlay(at, steps)
        prefix, route, because = found
        steps.append(Step(at.node, "route", f"{prefix} {route}", because))
        if route.kind != "unicast":
            return End("dropped", source=at.source, reason=f"no pod has {at.destination}")
        at = self._postrouting(at, steps)
        if route.via is None:
            return self._to_pod(at, view, route, steps)
        return self._to_next_hop(at, view, route, steps)

    def _filtered(
        self, at: _Here, point: Literal["input", "forward"], steps: list[Step]
    ) -> End | None:
        """The end of a packet that policy does not let through; a node's own are not asked."""
        if at.state.local:
            return None
        ((state, ending),) = self._rulesets[at.node].hook(point, at.state)
        steps += (Step(at.node, "policy", *met) for met in state.met if met[1])
        if ending != "drop":
            return None
        return End("dropped", source=at.source, reason=f"{at.node}'s policies do not allow it")

    def _underlay(self, at: _Here, steps: list[Step]) -> _Here | End:
        """No route of Steppe's: the node's own default route and the underlay take it on."""
        peer = self._node_of.get(at.destination)
        before = at.source
        at = self._postrouting(at, steps)
        if peer is not None:
            steps.append(Step(at.node, "underlay", f"{at.destination} is {peer}'s address"))
            return self._between(at, peer)
        if at.source == before and before in self._pod_node:
            reason = f"{at.node} has no IPv{before.version} address to leave the cluster with"
            return End("dropped", source=before, reason=reason)
        steps.append(Step(at.node, "underlay", f"{at.destination} is outside the cluster"))
        return End("outside", source=at.source)

    def _between(self, at: _Here, peer: str) -> _Here | End:
        """Across the underlay as the packet is; routers on the way know node addresses only."""
        underlay = self._cluster.nodes[at.node].underlay
        own = any(at.source in prefix for prefix in self._cluster.nodes[at.node].pod_cidrs)
        if own and not underlay.on_link(at.destination):
            reason = f"a router between {at.node} and {peer} sees the pod address {at.source}"
            return End("dropped", source=at.source, reason=reason)
        return _arriving(at, peer)

    def _postrouting(self, at: _Here, steps: list[Step]) -> _Here:
        ((state, ending),) = self._rulesets[at.node].hook("postrouting", at.state)
        own = of_version(self._cluster.nodes[at.node].addresses, at.source.version)
        if ending != "masquerade" or own is None:
            return at
        because = dict.fromkeys(cause for _, causes in state.met for cause in causes)
        text = f"masquerade: {at.source} becomes {own}"
        steps.append(Step(at.node, "postrouting", text, tuple(because)))
        packet = msgspec.structs.replace(at.state.packet, source=own)
        return _Here(at.node, msgspec.structs.replace(at.state, packet=packet))

    def _to_pod(self, at: _Here, view: NodeView, route: Route, steps: list[Step]) -> End:
        neighbour = view.neighbour(route.link, at.destination)
        if neighbour is None or not view.has_link(route.link):
            reason = f"no neighbour entry for {at.destination} on {route.link}"
            return End("dropped", source=at.source, reason=reason)
        value, entry = neighbour
        pod = self._pod_of.get((at.node, route.link), route.link)
        text = f"{at.destination} {value} dev {route.link} is {pod}"
        steps.append(Step(at.node, "deliver", text, entry.because))
        return End("pod", pod, at.source)

    def _to_next_hop(
        self, at: _Here, view: NodeView, route: Route, steps: list[Step]
    ) -> _Here | End:
        via = route.via
        if via is None:
            return End("dropped", source=at.source, reason="a route without a next hop")
        if not view.has_link(route.link):  # the underlay's own link: its neighbours answer
            peer = self._node_of.get(via)
            if peer is None:
                reason = f"no node has the next hop {via}"
                return End("dropped", source=at.source, reason=reason)
            return _arriving(at, peer)
        return self._tunnel(at, view, route, steps)

    def _tunnel(self, at: _Here, view: NodeView, route: Route, steps: list[Step]) -> _Here | End:
        neighbour = view.neighbour(route.link, route.via) if route.via else None
        forwarding = view.forwarding(route.link, neighbour[0].mac) if neighbour else None
        if neighbour is None or forwarding is None:
            reason = f"{route.link} has no neighbour or forwarding entry for {route.via}"
            return End("dropped", source=at.source, reason=reason)
        outer, entry = forwarding
        because = (*neighbour[1].because, *entry.because)
        text = f"{route.via} {neighbour[0]}, tunnelled to {outer.destination}"
        steps.append(Step(at.node, "tunnel", text, tuple(dict.fromkeys(because))))
        peer = self._node_of.get(outer.destination)
        if peer is None:
            reason = f"no node has the tunnel end {outer.destination}"
            return End("dropped", source=at.source, reason=reason)
        return _arriving(at, peer)


def _arriving(at: _Here, node: str) -> _Here:
    """The packet as another node receives it: marks do not travel."""
    return _Here(node, State(at.state.packet, share=at.state.share))

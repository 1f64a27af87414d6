"""A packet through the nodes' tables, as the kernels would take it.

    sender ─▶ node ─▶ rules and routes ─▶ postrouting ─▶ pod's link
                            ▲                  │
                            └── next node ◀────┴─▶ outside

What lies between nodes is not Steppe's: the walk takes it that the underlay delivers to every
node address, and knows nothing of pod prefixes.
"""

from collections.abc import Mapping

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.net.address import IPAddress, of_version
from steppe.net.packet import Packet
from steppe.state.nft import Match, Rule
from steppe.state.node import NodeState
from steppe.state.route import Route
from steppe.state.skeleton import SKELETON
from steppe.state.workload import workloads_on
from steppe.walk.trace import End, Step, Trace
from steppe.walk.view import NodeView

MAX_HOPS = 8
"""More nodes than any path crosses; a packet that visits more goes in a circle."""


class _Here(msgspec.Struct, frozen=True):
    """The packet at a node: where it is and what it looks like by now."""

    node: str
    source: IPAddress
    destination: IPAddress


class Walker:
    """Walks packets over one cluster and one set of tables, desired or read back alike."""

    def __init__(self, cluster: Cluster, states: Mapping[str, NodeState]) -> None:
        self._cluster = cluster
        self._views = {name: NodeView(state) for name, state in states.items()}
        self._node_of: dict[IPAddress, str] = {}
        self._pod_of: dict[tuple[str, str], str] = {}
        self._pod_node: dict[IPAddress, str] = {}
        for node in cluster.nodes.values():
            self._node_of.update(dict.fromkeys(node.addresses, node.name))
            for workload in workloads_on(cluster, node.name):
                self._pod_of[node.name, workload.link] = f"{workload.namespace}/{workload.name}"
                self._pod_node.update(dict.fromkeys(workload.addresses, node.name))

    def walk(self, packet: Packet) -> Trace:
        """The path of the packet from whoever holds its source address."""
        steps: list[Step] = []
        start = self._start(packet)
        if start is None:
            reason = "the underlay has no route to pods; only nodes are reached from outside"
            return Trace((), End("dropped", source=packet.source, reason=reason))
        here: _Here | End = _Here(start, packet.source, packet.destination)
        for _ in range(MAX_HOPS):
            if isinstance(here, End):
                return Trace(tuple(steps), here)
            here = self._hop(here, steps)
        reason = f"still under way after {MAX_HOPS} nodes: the routes lead in a circle"
        return Trace(tuple(steps), End("dropped", source=packet.source, reason=reason))

    def _start(self, packet: Packet) -> str | None:
        """The first node: the sender's own, or for outside senders the one they address."""
        for where in (self._pod_node, self._node_of):
            if packet.source in where:
                return where[packet.source]
        return self._node_of.get(packet.destination)

    def _hop(self, at: _Here, steps: list[Step]) -> _Here | End:
        """What one node does with the packet."""
        if self._node_of.get(at.destination) == at.node:
            ref = self._cluster.nodes[at.node].ref
            cause = Cause(ref, "status.addresses")
            steps.append(Step(at.node, "local", f"{at.destination} is the node's own", (cause,)))
            return End("node", at.node, at.source)
        view = self._views[at.node]
        found = view.route(at.source, at.destination)
        if found is None:
            return self._underlay(at, view, steps)
        prefix, route, because = found
        steps.append(Step(at.node, "route", f"{prefix} {route}", because))
        if route.kind != "unicast":
            return End("dropped", source=at.source, reason=f"no pod has {at.destination}")
        at = self._postrouting(at, view, steps)
        if route.via is None:
            return self._to_pod(at, view, route, steps)
        return self._to_next_hop(at, view, route, steps)

    def _underlay(self, at: _Here, view: NodeView, steps: list[Step]) -> _Here | End:
        """No route of Steppe's: the node's own default route and the underlay take it on."""
        peer = self._node_of.get(at.destination)
        before = at.source
        at = self._postrouting(at, view, steps)
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
        return _Here(peer, at.source, at.destination)

    def _postrouting(self, at: _Here, view: NodeView, steps: list[Step]) -> _Here:
        for chain in SKELETON.chains:
            for rule in chain.rules if chain.name == "postrouting" else ():
                because = _matched(rule, at, view) if rule.action == "masquerade" else None
                if because is None:
                    continue
                own = of_version(self._cluster.nodes[at.node].addresses, at.source.version)
                if own is None:
                    return at
                text = f"{rule.action}: {at.source} becomes {own}"
                steps.append(Step(at.node, chain.name, text, because))
                return _Here(at.node, own, at.destination)
        return at

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
            return _Here(peer, at.source, at.destination)
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
        return _Here(peer, at.source, at.destination)


def _matched(rule: Rule, at: _Here, view: NodeView) -> tuple[Cause, ...] | None:
    """The causes of the elements that matched, or None where the rule does not apply."""
    because: list[Cause] = []
    for match in rule.matches:
        address = _field(match, at) if isinstance(match, Match) else None
        if address is None or not isinstance(match, Match):
            return None
        found = view.member(match.set, address)
        if (found is None) != match.negate:
            return None
        if found is not None:
            because += found[1].because
    return tuple(dict.fromkeys(because))


def _field(match: Match, at: _Here) -> IPAddress | None:
    """The packet's value for a match; None where the packet has no such header."""
    protocol, _, name = match.field.partition(" ")
    if protocol != {4: "ip", 6: "ip6"}[at.source.version]:
        return None
    return {"saddr": at.source, "daddr": at.destination}.get(name)

"""Walks a packet through the nodes' tables, as the kernels would forward it.

    sender ─▶ node ─▶ prerouting, output ─▶ routes ─▶ forward, input ─▶ postrouting ─▶ pod's link
                            ▲                                       │
                            └────────────── next node ◀─────────────┴─▶ outside

A Service chooses an endpoint at random, and a route with several hops one of them by the flow's
ends, so there may be several paths. A reply is routed back, and each node that translated the
request reverses the translation. Steppe does not manage the network between nodes: the walk assumes
that the underlay delivers to every node address and has no routes to pod prefixes.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Literal

import msgspec

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.net.address import IPAddress, host_prefix, of_version
from steppe.net.packet import Packet
from steppe.state.link import Link
from steppe.state.node import NodeState
from steppe.state.route import Hop, RouteKey
from steppe.state.surroundings import Surroundings
from steppe.state.workload import is_pod_link, pod_mac, workload_of
from steppe.walk import beside
from steppe.walk.here import Here
from steppe.walk.nft import Ruleset, State
from steppe.walk.routing import Answer, Asked
from steppe.walk.trace import (
    Crossed,
    Delivered,
    End,
    Masqueraded,
    Own,
    Restored,
    Routed,
    Stage,
    Step,
    Trace,
    Translation,
)
from steppe.walk.view import NodeView
from steppe.walk.wrap import outer_source, wrapped

MAX_HOPS = 8
"""The most nodes on a path; a packet that visits more is in a loop."""


class Walker:
    """Walks packets over one cluster and one set of tables, either desired or read from kernels.

    Invariant: it stores nothing between walks, so a result depends only on the cluster and the
    tables. What a reply needs to know of its request is in the request's trace.
    """

    def __init__(
        self,
        cluster: Cluster,
        states: Mapping[str, NodeState],
        around: Mapping[str, Surroundings] = {},
    ) -> None:
        """`around`: what nodes have beside their tables, for those that were looked at."""
        self._cluster = cluster
        self._views = {n: NodeView(state, around.get(n)) for n, state in states.items()}
        self._rulesets = {name: Ruleset(SKELETON, view) for name, view in self._views.items()}
        self._node_of: dict[IPAddress, str] = {}
        self._pod_of: dict[tuple[str, str], str] = {}
        self._pod_node: dict[IPAddress, str] = {}
        self._pod_named: dict[IPAddress, str] = {}
        self._pod_link: dict[IPAddress, str] = {}
        for node in cluster.nodes.values():
            self._node_of.update(dict.fromkeys(node.addresses, node.name))
        for workload in filter(None, map(workload_of, cluster.pods.values())):
            if workload.node in cluster.nodes:
                name = str(workload.ref).partition("/")[2]
                self._pod_of[workload.node, workload.link] = name
                self._pod_named.update(dict.fromkeys(workload.addresses, name))
                self._pod_link.update(dict.fromkeys(workload.addresses, workload.link))
                self._pod_node.update(dict.fromkeys(workload.addresses, workload.node))

    def walk(self, packet: Packet) -> Trace:
        """The packet's path; if it has several, the first one."""
        return self.walks(packet)[0]

    def walks(
        self, packet: Packet, at: str = "", sender: IPAddress | None = None
    ) -> tuple[Trace, ...]:
        """Every path from the owner of the packet's source address.

        Packets from outside enter the cluster at the node `at`, or else at the node they address.
        `sender`: an address of the pod that really sends, if the source is forged.
        """
        by = packet.source if sender is None else sender
        itself = self._pod_named.get(by)
        if itself is not None and packet.source == packet.destination:
            # A packet to the sender's own address does not leave the sender.
            return (Trace((), End("pod", itself, packet.source), packet),)
        start = self._start(msgspec.structs.replace(packet, source=by)) or at
        if not start:
            reason = "the underlay has no route to pods; only nodes are reached from outside"
            return (Trace((), End("dropped", source=packet.source, reason=reason), packet),)
        own = self._node_of.get(by) == start
        state = State(packet, *self._entered(start, by), own)
        first = self._sent(Here(start, state), by)
        return tuple(self._paths(first, (), MAX_HOPS))

    def _sent(self, at: Here, sender: IPAddress) -> Here:
        """The end of a packet that does not leave its pod."""
        around, link = self._views[at.node].around, self._pod_link.get(sender, "")
        for pod in around.pods if around is not None and link else ():
            inside = beside.routing_inside(pod.inside) if pod.link == link else None
            if (why := beside.stays_inside(inside, at.asked("lo"), pod.interface)) is not None:
                return at.ending("dropped", f"pod {self._pod_named[sender]} has {': '.join(why)}")
        return at

    def _entered(self, node: str, sender: IPAddress) -> tuple[str, int]:
        """The link of ours by which a node gets what this sender sends, and the link's group."""
        name = self._pod_link.get(sender, "")
        link = self._views[node].link(name)
        return name, link.group if link is not None else 0

    def reply(self, trace: Trace) -> Trace:
        """The path of the reply to a packet that arrived by this trace.

        A node's conntrack has one entry for each connection: the original direction and the reply
        direction. If a route has several hops, a path that does not arrive is preferred.
        """
        packet = trace.packet.answer
        first: dict[str, Translation] = {}
        last: dict[str, Translation] = {}
        for each in trace.translated:
            first.setdefault(each.node, each)
            last[each.node] = each
        undo = {(node, last[node].after.answer): each for node, each in first.items()}
        start = self._start(packet) or self._node_of.get(packet.destination)
        if start is None:
            reason = f"nobody here has {packet.destination}"
            return Trace((), End("dropped", source=packet.source, reason=reason), packet)
        own = self._node_of.get(packet.source) == start
        state = State(packet, *self._entered(start, packet.source), own, established=True)
        sent = self._sent(Here(start, state, undo=undo), packet.source)
        ways = tuple(self._paths(sent, (), MAX_HOPS))
        return next((way for way in ways if way.end.kind in ("dropped", "refused")), ways[0])

    def _paths(self, at: Here, steps: tuple[Step, ...], hops: int) -> Iterator[Trace]:
        if not hops:
            reason = f"still under way after {MAX_HOPS} nodes: the routes lead in a circle"
            at = at.ending("dropped", reason)
        at, steps = self._admitted(at, steps)
        for entered in (at,) if at.end else self._entries(at):
            state = entered.state
            stage = Stage.CONNTRACK if state.established else Stage.SERVICE
            taken = [*steps, *(Step(at.node, stage, *met) for met in state.met)]
            then = entered.becoming(msgspec.structs.replace(state, met=()))
            for gone, path in self._hops(then, taken) if then.end is None else ((then, taken),):
                if gone.end is None:
                    yield from self._paths(gone, tuple(path), hops - 1)
                else:
                    ended = gone.state
                    yield Trace(tuple(path), gone.end, ended.packet, ended.share, gone.translated)

    def _entries(self, at: Here) -> Iterator[Here]:
        """The packet before routing: one result for each possible path from here."""
        return self._known(at) if at.state.established else self._served(at)

    def _admitted(self, at: Here, steps: tuple[Step, ...]) -> tuple[Here, tuple[Step, ...]]:
        """The end of a packet that may not come in by its link."""
        if at.end is not None or at.state.local:
            return at, steps
        ((state, ending),) = self._rulesets[at.node].hook("prerouting", at.state, raw=True)
        if ending != "drop":
            admitted = msgspec.structs.replace(at.state, priority=state.priority)
            return msgspec.structs.replace(at, state=admitted), steps
        met = (Step(at.node, Stage.SOURCE, *each) for each in state.met)
        by = f" by {at.state.link}" if at.state.link else ""
        reason = f"{at.node} lets {at.source} send nothing{by}"
        return at.ending("dropped", reason), (*steps, *met)

    def _known(self, at: Here) -> Iterator[Here]:
        """The reply after the node's conntrack; nat chains see only the first packet of a flow.

        Its source is restored only as it leaves (postrouting), so routes are asked with the old.
        """
        done = at.undo.get((at.node, at.state.packet))
        if done is None:
            yield at
            return
        packet = done.before.answer
        what = Restored(at.state.packet, packet)
        state = msgspec.structs.replace(at.state, packet=packet, came=at.source)
        yield at.becoming(state.meeting(what, done.because))

    def _served(self, at: Here) -> Iterator[Here]:
        """The packet after the node's Services."""
        point = "output" if at.state.local else "prerouting"
        for state, ending in self._rulesets[at.node].hook(point, at.state):
            because = state.met[-1][1] if state.met else ()
            then = at.becoming(state, because)
            if ending == "reject":
                reason = f"nothing serves {at.destination} {at.state.packet.destination_port}"
                yield then.ending("refused", reason)
            elif ending == "drop":
                yield then.ending("dropped", f"{at.node}'s rules drop it")
            else:
                yield then

    def _start(self, packet: Packet) -> str | None:
        """The first node: the sender's own, or for a sender outside the node it addresses."""
        for where in (self._pod_node, self._node_of):
            if packet.source in where:
                return where[packet.source]
        return self._node_of.get(packet.destination)

    def _hops(self, at: Here, steps: list[Step]) -> Iterator[tuple[Here, list[Step]]]:
        """The packet after one node: one result for each possible path, with its steps so far."""
        at, found = self._looked_up(at, steps)
        if at.end is not None:
            yield at, steps
        elif found is None:
            yield self._underlay(at, steps), steps
        else:
            route, because = found.route, found.because
            total = sum(hop.weight for hop in route.hops)
            for hop in route.hops or (None,):
                own = at.sharing(Fraction(hop.weight, total)) if hop else at
                key = found.key or RouteKey(host_prefix(at.destination))
                taken = [*steps, Step(at.node, Stage.ROUTE, Routed(key, route), because)]
                yield self._routed(own, hop, taken), taken

    def _looked_up(self, at: Here, steps: list[Step]) -> tuple[Here, Answer | None]:
        """The packet after the forward or input policies (perhaps at its end), and its route."""
        local = self._node_of.get(at.destination) == at.node
        at = self._filtered(at, "input" if local else "forward", steps)
        if at.end is not None:
            return at, None
        view = self._views[at.node]
        asked = at.asked("lo" if at.state.local else at.state.link or self._uplink(at.node))
        if why := beside.path_filtered(view.around, view.routing, asked):
            return at.ending("dropped", f"{at.node} {why}"), None
        if local:
            ref = self._cluster.nodes[at.node].ref
            cause = Cause(ref, "status.addresses")
            steps.append(Step(at.node, Stage.LOCAL, Own(at.destination), (cause,)))
            return at.ending("node", target=at.node), None
        if not at.state.local and (closed := view.refuses_to_forward(at.source.version)):
            return at.ending("dropped", f"{at.node} does not forward: {closed} is not 1"), None
        return self._found(at, asked)

    def _found(self, at: Here, asked: Asked) -> tuple[Here, Answer | None]:
        """The packet and its route, if that is Steppe's or leads to pods; what leads between nodes
        or out of the cluster is the node's own.
        """
        view, uplink = self._views[at.node], self._uplink(at.node)
        found = view.routing.answer(asked)
        if view.around is None:
            return at, found
        pods = any(node.has_pods_at(at.destination) for node in self._cluster.nodes.values())
        why = "" if at.state.local else beside.not_forwarded(view.around, asked)
        if found is None and (down := beside.is_down(view.around, uplink)):
            why = why or f"has its link {uplink}, and that {down}"
        ours = pods or at.destination in self._node_of
        why = why or beside.led_astray(found, at.destination, ours=ours)
        if why:
            return at.ending("dropped", f"{at.node} {why}"), None
        return at, found if found is not None and (pods or not found.foreign) else None

    def _uplink(self, node: str) -> str:
        return self._cluster.nodes[node].underlay.link

    def _routed(self, at: Here, hop: Hop | None, steps: list[Step]) -> Here:
        """The packet sent along one hop of a route in the tables."""
        view = self._views[at.node]
        if hop is None:
            return at.ending("dropped", f"no pod has {at.destination}")
        if view.is_down(hop.link):
            return at.ending("dropped", f"{hop.link} of {at.node} is down")
        if down := beside.is_down(view.around, hop.link):
            return at.ending("dropped", f"{hop.link} of {at.node} {down}")
        at = self._postrouting(at, steps)
        if hop.via is None and hop.encap is None:
            return self._to_pod(at, view, hop, steps)
        return self._to_next_hop(at, view, hop, steps)

    def _filtered(self, at: Here, point: Literal["input", "forward"], steps: list[Step]) -> Here:
        """The packet after policies: at its end if they deny it. A node's own packets skip them."""
        if at.state.local:
            return at
        ((state, ending),) = self._rulesets[at.node].hook(point, at.state)
        steps += (Step(at.node, Stage.POLICY, *met) for met in state.met if met[1])
        if ending != "drop":
            return at
        return at.ending("dropped", f"{at.node}'s policies do not allow it")

    def _underlay(self, at: Here, steps: list[Step]) -> Here:
        """No route in the tables matches: the node's default route and the underlay forward it."""
        peer = self._node_of.get(at.destination)
        before = at.source
        at = self._postrouting(at, steps)
        if peer is not None:
            steps.append(Step(at.node, Stage.UNDERLAY, Crossed(at.destination, peer)))
            return self._between(at, peer)
        if at.source == before and before in self._pod_node:
            # It has no address of this family, or no table that says so: no answer would come.
            reason = f"{at.node} gives {before} no address to leave the cluster with"
            return at.ending("dropped", reason)
        steps.append(Step(at.node, Stage.UNDERLAY, Crossed(at.destination)))
        return at.ending("outside")

    def _between(self, at: Here, peer: str) -> Here:
        """The packet across the underlay, not tunnelled: routers there know node addresses only."""
        underlay = self._cluster.nodes[at.node].underlay
        at = self._neighbours(at, at.destination, peer)
        own = self._cluster.nodes[at.node].has_pods_at(at.source)
        if at.end is not None:
            return at
        if own and not underlay.on_link(at.destination):
            reason = f"a router between {at.node} and {peer} sees the pod address {at.source}"
            return at.ending("dropped", reason)
        return at.arriving(peer)

    def _postrouting(self, at: Here, steps: list[Step]) -> Here:
        if at.state.established:
            return at
        ((state, ending),) = self._rulesets[at.node].hook("postrouting", at.state)
        own = of_version(self._cluster.nodes[at.node].addresses, at.source.version)
        if ending != "masquerade" or own is None:
            return at
        because = tuple(dict.fromkeys(cause for _, causes in state.met for cause in causes))
        steps.append(Step(at.node, Stage.POSTROUTING, Masqueraded(at.source, own), because))
        packet = msgspec.structs.replace(at.state.packet, source=own)
        return at.becoming(msgspec.structs.replace(at.state, packet=packet), because)

    def _to_pod(self, at: Here, view: NodeView, hop: Hop, steps: list[Step]) -> Here:
        neighbour = view.neighbour(hop.link, at.destination)
        if neighbour is None or view.link(hop.link) is None:
            reason = f"no neighbour entry for {at.destination} on {hop.link}"
            return at.ending("dropped", reason)
        value, entry = neighbour
        if is_pod_link(hop.link) and value.mac != pod_mac(hop.link):
            reason = f"{at.node} sends it to {value.mac}, which is not the MAC of {at.destination}"
            return at.ending("dropped", reason)
        pod = self._pod_of.get((at.node, hop.link), hop.link)
        what = Delivered(at.destination, value, hop.link, pod)
        steps.append(Step(at.node, Stage.DELIVER, what, entry.because))
        return at.ending("pod", target=pod)

    def _to_next_hop(self, at: Here, view: NodeView, hop: Hop, steps: list[Step]) -> Here:
        link = view.link(hop.link)
        if link is None:  # the underlay's link: its neighbours are resolved by ARP or NDP
            peer = self._node_of.get(hop.via) if hop.via is not None else None
            if peer is None:
                reason = f"no node has the next hop {hop.via}"
                return at.ending("dropped", reason)
            at = self._neighbours(at, hop.via or at.destination, peer)
            return at if at.end is not None else at.arriving(peer)
        outer = wrapped(view, link, hop)
        if isinstance(outer, str):
            return at.ending("dropped", outer)
        # A tunnel end that the route itself names has the route's causes.
        because = outer.because or steps[-1].because
        steps.append(Step(at.node, Stage.TUNNEL, outer.what, because))
        peer = self._node_of.get(outer.what.destination)
        if peer is None:
            reason = f"no node has the tunnel end {outer.what.destination}"
            return at.ending("dropped", reason)
        theirs, frame = self._views[peer].link(hop.link), outer.what.neighbour
        if theirs is not None and frame is not None and theirs.mac != frame.mac:
            reason = (
                f"{at.node} sends it to {frame.mac} through the tunnel, and {peer} is {theirs.mac}"
            )
            return at.ending("dropped", reason)
        at = self._neighbours(at, outer.what.destination, peer)
        return at if at.end is not None else self._unwrapped(at, peer, link, hop)

    def _unwrapped(self, at: Here, peer: str, link: Link, hop: Hop) -> Here:
        """The packet as it comes out of a tunnel, if the node takes such from this one."""
        arrived = at.arriving(peer, hop.link)
        carrier, own = link.kind.carrier(at.source.version), outer_source(link, hop)
        if carrier is None or own is None:
            return arrived
        end = self._cluster.nodes[peer].address(own.version) or own
        packet = Packet(own, end, "UDP", 0, carrier.port)
        ((outer, ending),) = self._rulesets[peer].hook(
            "input", State(packet, carried_by=carrier.protocol)
        )
        if ending == "drop":
            return at.ending("dropped", f"{peer} takes no tunnels from {own}")
        state = msgspec.structs.replace(arrived.state, priority=outer.priority)
        return msgspec.structs.replace(arrived, state=state)

    def _neighbours(self, at: Here, address: IPAddress, peer: str) -> Here:
        """The end of a packet whose frames go to another MAC than the next node's."""
        around, mac = self._views[at.node].around, self._cluster.nodes[peer].underlay.mac
        why = beside.wrong_neighbour(around, self._uplink(at.node), address, mac)
        return at.ending("dropped", f"{at.node} {why}") if why else at

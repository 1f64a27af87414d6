"""Which entries of the kernels' tables keep a packet from doing what it should.

Predictions never come from tables; this is asked only after a packet went wrong. The packet is
walked through the tables as they should be and as they are: what it meets on either way, and what
differs there, has stopped it. A thousand packets that one entry stops have one cause.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.net.packet import Packet
from steppe.state.claim import Entry
from steppe.state.document import KeyState, concerns
from steppe.state.link import ForwardingKey, LinkKey, NeighbourKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key, NodeState, Value
from steppe.state.sysctl import SysctlKey
from steppe.state.workload import workload_of
from steppe.verify.plan import Check
from steppe.walk.trace import Delivered, Met, Redirected, Routed, Step, Trace, Tunnelled
from steppe.walk.walk import Walker


class Stop(msgspec.Struct, frozen=True, order=True):
    """What stops packets on a node: entries of one kind and of the same objects, a rule, a reason.

    Entries of a set, or of a table, that are wrong in the same way and that the same objects ask
    for are one cause: which they are is not part of it.
    """

    node: str
    text: str
    because: tuple[Cause, ...] = ()


class Differing(msgspec.Struct, frozen=True):
    """An entry of a node that is not as it should be."""

    node: str
    state: KeyState

    @property
    def stop(self) -> Stop:
        key, state = self.state.key, self.state
        what = f"@{key.set}" if isinstance(key, ElementKey) else key.table
        if state.actual is None:
            return Stop(self.node, f"{what}: not there", state.because)
        if state.desired is None:
            return Stop(self.node, f"{what}: nothing asks for it")
        return Stop(self.node, f"{what}: not as it should be", state.because)


Ways = tuple[Trace, ...]


class Tables:
    """All nodes' tables, as they should be and as they are, and the packets walked through both.

    Invariant: it stores nothing between packets.
    """

    def __init__(self, cluster: Cluster, held: Mapping[str, Sequence[KeyState]]) -> None:
        """`held`: by node, what its agent answers of all its entries."""
        self._cluster = cluster
        wanted = {node: _state(states, desired=True) for node, states in held.items()}
        actual = {node: _state(states, desired=False) for node, states in held.items()}
        known = {name: node for name, node in cluster.nodes.items() if name in held}
        part = msgspec.structs.replace(cluster, nodes=known)
        self._wanted, self._actual = Walker(part, wanted), Walker(part, actual)
        self._differing = [
            Differing(node, state)
            for node, states in held.items()
            for state in states
            if state.actual != state.desired
        ]

    def stops(self, check: Check) -> tuple[Stop | Differing, ...]:
        """The entries that stop the packet; if there are none, why a node's tables stop it.

        () if the tables are as they should be for this packet.
        """
        if not self._differing:
            return ()
        wanted, actual = self._ways(self._wanted, check), self._ways(self._actual, check)
        if not check.size and set(map(_end, wanted)) == set(map(_end, actual)):
            return ()
        met = {key for way in (*wanted, *actual) for key in self._met(check, way)}
        found = [each for each in self._differing if (each.node, each.state.key) in met]
        if check.size:
            return tuple(each for each in found if _has_mtu(each.state))
        lost = next((way for way in actual if way.end.reason), None)
        if lost is not None:
            found += self._settings(lost.end.reason)
        if not found:
            found = list(self._naming(check, (*wanted, *actual)))
        if found or lost is None:
            return tuple(found)
        return (Stop(lost.steps[-1].node if lost.steps else "", lost.end.reason),)

    def way(self, check: Check) -> tuple[frozenset[str], frozenset[Packet]]:
        """The nodes that the packet should come to or comes to, and how it looks at its ends."""
        ways = (*self._ways(self._wanted, check), *self._ways(self._actual, check))
        nodes = {step.node for way in ways for step in way.steps}
        return frozenset(nodes), frozenset((check.packet, *(way.packet for way in ways)))

    def _ways(self, walker: Walker, check: Check) -> Ways:
        ways = walker.walks(check.packet)
        arrived = (way for way in ways if way.end.kind in ("pod", "node", "outside"))
        return (*ways, *map(walker.reply, arrived))

    def _met(self, check: Check, way: Trace) -> Iterator[tuple[str, Key]]:
        for pod in self._cluster.pods_at(check.packet.source):
            workload = workload_of(pod)
            if workload is not None:
                yield workload.node, LinkKey(workload.link)
        for step in way.steps:
            for key in _keys(step):
                yield step.node, key

    def _settings(self, reason: str) -> Iterator[Differing]:
        for each in self._differing:
            if isinstance(each.state.key, SysctlKey) and str(each.state.key) in reason:
                yield each

    def _naming(self, check: Check, ways: Iterable[Trace]) -> Iterator[Differing]:
        """Elements that name an end of the packet, or of a tunnel on its way, on nodes that it
        comes to.

        A rule for what is not in a set meets none, and one that nothing asks for has no cause.
        """
        ends = {check.packet.source, check.packet.destination}
        nodes = set()
        for way in ways:
            ends |= {way.packet.source, way.packet.destination}
            nodes |= {step.node for step in way.steps}
            tunnels = (step for step in way.steps if isinstance(step.what, Tunnelled))
            ends |= {a for step in tunnels for a in self._cluster.nodes[step.node].addresses}
        for each in self._differing:
            key = each.state.key
            named = isinstance(key, ElementKey) and concerns(key, frozenset(ends))
            if named and each.node in nodes:
                yield each


def _state(states: Iterable[KeyState], *, desired: bool) -> NodeState:
    pairs = ((each, each.desired if desired else each.actual) for each in states)
    return {each.key: Entry(value, each.because) for each, value in pairs if value is not None}


def _end(way: Trace) -> Hashable:
    return way.end.kind, way.end.target, way.end.source, way.packet


def _keys(step: Step) -> Iterator[Key]:
    """The entries that a step has used."""
    match step.what:
        case Met(key=key) | Redirected(key=key):
            yield key
        case Routed(key=key, route=route):
            yield key
            yield from (LinkKey(hop.link) for hop in route.hops)
        case Delivered(address=address, link=link):
            yield LinkKey(link)
            yield NeighbourKey(link, address)
        case Tunnelled(via=via, neighbour=neighbour, link=link):
            yield LinkKey(link)
            if via is not None and neighbour is not None:
                yield NeighbourKey(link, via)
                yield ForwardingKey(link, neighbour.mac)


def _has_mtu(state: KeyState) -> bool:
    def size(value: Value | None) -> object:
        return getattr(value, "mtu", None)

    return size(state.actual) != size(state.desired)


T = TypeVar("T")


class Group(msgspec.Struct, Generic[T], frozen=True):
    """All that went wrong for one cause; no `stops` if the cause is not known."""

    stops: tuple[Stop, ...]
    entries: tuple[Differing, ...]
    members: tuple[T, ...]


def grouped(found: Iterable[tuple[T, Sequence[Stop | Differing]]]) -> tuple[Group[T], ...]:
    """What went wrong, by what stopped it: the cause of most first, the unknown last."""
    members: dict[tuple[Stop, ...], list[T]] = {}
    entries: dict[tuple[Stop, ...], dict[Differing, None]] = {}
    for each, why in found:
        stops = {one.stop if isinstance(one, Differing) else one for one in why}
        key = tuple(sorted(stops))
        members.setdefault(key, []).append(each)
        differing = (one for one in why if isinstance(one, Differing))
        entries.setdefault(key, {}).update(dict.fromkeys(differing))
    order = sorted(members, key=lambda key: (not key, -len(members[key])))
    return tuple(Group(key, _ordered(entries[key]), tuple(members[key])) for key in order)


def _ordered(entries: Iterable[Differing]) -> tuple[Differing, ...]:
    """Those first that others need, such as links."""
    return tuple(sorted(entries, key=lambda each: (each.node, each.state.key.level)))

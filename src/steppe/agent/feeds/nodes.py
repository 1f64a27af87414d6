"""Node events into the compiler, and when not to believe them.

An incomplete or missing view deletes nothing (client/mirror.py). Of nodes there are more of those
than of other kinds:

    a list without our own node       not our cluster's (an API server restored from nothing, a
                                      wrong kubeconfig), or our node is not registered yet: all
                                      stays as it was until our node is there, then the whole list
                                      counts
    our own Node is deleted           its pods run on, and keep their network
    a peer's Node is deleted          its network goes after a while (departed.py)
    a Node without what it once had   it was registered again, and its podCIDRs or addresses are
                                      not set yet: those known from before stay in force
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from steppe.agent.feeds.departed import Departed
from steppe.agent.feeds.feed import NONE, Follow
from steppe.client.informer import Replaced, WatchEvent
from steppe.client.mirror import Kind, Mirror, Name
from steppe.client.resources import NODES
from steppe.compile.incremental import NodeCompiler
from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Node, Underlay, node_from
from steppe.kube.prefixes import no_prefix
from steppe.settings import SETTINGS_ANNOTATION
from steppe.state.node import Key

DELETION_TAINT = "ToBeDeletedByClusterAutoscaler"
"""What the cluster autoscaler puts on a node before it drains and deletes it."""


class SeenNode(msgspec.Struct, frozen=True):
    """A Node object: the node, whether it is being deleted, the settings it says its agent has."""

    node: Node
    leaving: bool
    settings: str


def _seen_node(seen: wire.Node) -> tuple[SeenNode, tuple[Problem, ...]]:
    node, problems = node_from(seen)
    taints = {taint.key for taint in seen.spec.taints or ()}
    leaving = bool(seen.metadata.deletion_timestamp) or DELETION_TAINT in taints
    settings = (seen.metadata.annotations or {}).get(SETTINGS_ANNOTATION, "")
    return SeenNode(node, leaving, settings), problems


NODE = Kind(resource=NODES, wire=wire.Node, parse=_seen_node)


class NodeFeed:
    """Keeps the compiler's nodes those of the API.

    Invariant: where the last list held our own node (`believed`), the compiler has the nodes of the
    mirror, each completed by what it had before, and besides them our own, should its object be
    deleted, and peers that have just departed. Otherwise it has what it had before that list.
    """

    def __init__(
        self,
        compiler: NodeCompiler,
        name: str,
        underlay: Underlay,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compiler = compiler
        self._name = name
        self._own: Name = ("", name)
        self.clock = clock
        self._mirror = Mirror(NODE)
        self._departed = Departed()
        self._lacking: dict[str, tuple[Problem, ...]] = {}
        self._doubt: Problem | None = None
        self.believed = False
        """Whether the last list held our own node, or it has come since."""
        self.underlay = underlay
        self.published: Underlay | None = None
        """What our own Node object says of our underlay."""
        self.published_settings = ""
        """What it says of the settings that its agent runs with."""
        self.trusted = False
        """Whether a list that holds our own node has been seen."""
        self.leaving = False
        """Whether our own node is being deleted: load balancers shall look for others."""
        self.departing = asyncio.Event()
        """Whether peers have departed whose network has to go after a while."""

    @property
    def complete(self) -> bool:
        """The same as `trusted`."""
        return self.trusted

    @property
    def problems(self) -> tuple[Problem, ...]:
        lacking = (problem for group in self._lacking.values() for problem in group)
        doubt = (self._doubt,) if self._doubt else ()
        return tuple(sorted((*self._mirror.problems, *lacking, *doubt)))

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (Follow(NODE, self.take),)

    def take(self, event: WatchEvent[wire.Node]) -> frozenset[Key]:
        """Believe the event or not; answers the keys it touched."""
        changed = self._mirror.take(event)
        if self._own not in self._mirror.known and isinstance(event, Replaced):
            self.believed = False
            self._doubt = None if self._own in self._mirror else self._unknown()
            return NONE
        if self.believed:
            return self._apply(changed)
        if self._own not in self._mirror.known:
            return NONE
        # All that was heard of while our own node was not there counts now.
        self.believed = self.trusted = True
        gone = self._compiler.nodes.keys() - {name for _, name in self._mirror.known}
        return self._apply({**self._mirror.known, **{("", name): None for name in gone}})

    def see_underlay(self, underlay: Underlay) -> frozenset[Key]:
        """The node's own link or addresses have changed."""
        self.underlay = underlay
        here = self._compiler.here
        return self._compiler.set_node(self._with_underlay(here)) if here is not None else NONE

    async def let_go(self, touch: Callable[[frozenset[Key]], None]) -> None:
        """Take departed peers' network away when their time is over, until cancelled."""
        while True:
            await self.departing.wait()
            while (due := self._departed.due) is not None:
                await asyncio.sleep(due - self.clock())
                touch(self.release())
            self.departing.clear()

    def release(self) -> frozenset[Key]:
        """Take away what is of peers that departed long enough ago; answers the keys touched."""
        return NONE.union(*map(self._remove, self._departed.let_go(self.clock())))

    def _apply(self, changed: Mapping[Name, SeenNode | None]) -> frozenset[Key]:
        """Departures first: what a newcomer takes over is not kept for who had it before.

        Then our own node, against which all peers are compiled.
        """
        touched = [self._depart(name) for (_, name), seen in changed.items() if seen is None]
        present = [seen for seen in changed.values() if seen is not None]
        present.sort(key=lambda seen: seen.node.name != self._name)
        return NONE.union(*touched, *map(self._set, present))

    def _set(self, seen: SeenNode) -> frozenset[Key]:
        node, lacking = completed(seen.node, self._compiler.nodes.get(seen.node.name))
        self._lacking.pop(node.name, None)
        if lacking:
            self._lacking[node.name] = lacking
        touched = NONE
        if self._departed:
            gone = self._departed.superseded(node.name, self._compiler.rivals(node))
            touched = touched.union(*map(self._remove, gone))
        if node.name != self._name:
            return touched | self._compiler.set_node(node)
        self._doubt = None
        self.leaving = seen.leaving
        self.published, self.published_settings = seen.node.underlay, seen.settings
        return touched | self._compiler.set_node(self._with_underlay(node))

    def _depart(self, name: str) -> frozenset[Key]:
        if name == self._name:
            self.leaving = True
            self._doubt = Problem(
                Cause(ObjectRef("Node", "", name)),
                "this node's object was deleted; its pods keep their network until the agent "
                "stops, or register the node again",
            )
            return NONE
        self._lacking.pop(name, None)
        if self._hold(name):
            return NONE
        return self._remove(name)

    def _hold(self, name: str) -> bool:
        """Keep a departed peer's network for a while, unless another wants the same."""
        known = self._compiler.nodes.get(name)
        if known is None or not self._compiler.is_undisputed(name):
            return False
        if self._compiler.rivals(known):
            return False
        held = self._departed.hold(known, self.clock())
        if held:
            self.departing.set()
        return held

    def _remove(self, name: str) -> frozenset[Key]:
        return self._compiler.remove_node(name)

    def _unknown(self) -> Problem:
        return Problem(
            Cause(ObjectRef("Node", "", self._name)),
            "the API server does not know this node, so its list of nodes is not used; "
            "check the agent's --node and --kubeconfig, or register the node",
        )

    def _with_underlay(self, node: Node) -> Node:
        return msgspec.structs.replace(node, underlay=self.underlay)


def completed(seen: Node, known: Node | None) -> tuple[Node, tuple[Problem, ...]]:
    """A node with what it lacks and once had, and a Problem for each such part.

    "podCIDRs … may only be set once" (validation of core/v1 NodeSpec): an object that has none
    after one that had is a new one, to which they are still to be given.
    """
    if known is None:
        return seen, ()
    problems: list[Problem] = []
    if not seen.prefixes and known.prefixes:
        cure = "run steppe's controller, or kube-controller-manager with --allocate-node-cidrs"
        problems.append(_lacks(no_prefix(seen.ref), known.prefixes, cure))
        seen = msgspec.structs.replace(seen, prefixes=known.prefixes)
    if not seen.addresses and known.addresses:
        cure = "its kubelet or its cloud's controller has to report an InternalIP"
        problems.append(_lacks(Cause(seen.ref, "status.addresses"), known.addresses, cure))
        seen = msgspec.structs.replace(seen, addresses=known.addresses)
    return seen, tuple(problems)


def _lacks(cause: Cause, known: Iterable[object], cure: str) -> Problem:
    parts = ", ".join(map(str, known))
    why = f"none any more; known from before and in force until it has some: {parts}; {cure}"
    return Problem(cause, why)

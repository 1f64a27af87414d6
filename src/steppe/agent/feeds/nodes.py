"""Gives Node events to the compiler, and decides when not to use them.

An incomplete or missing view deletes nothing (client/mirror.py). For nodes there are more such
cases than for other kinds:

    a list without our own node       not our cluster's (an API server restored from nothing, a
                                      wrong kubeconfig), or our node is not registered yet: all
                                      stays as it was until our node is there, then the whole list
                                      counts
        our own Node is deleted           its pods go on running and keep their network
        a peer's Node is deleted          its routes are removed after a while (departed.py)
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
"""The taint that the cluster autoscaler sets before it drains and deletes a node."""


class SeenNode(msgspec.Struct, frozen=True):
    """A decoded Node object: the node, whether it is being deleted, and its agent's settings."""

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
    """Keeps the compiler's nodes equal to those of the API.

    Invariant: if the last list had our own node (`believed`), the compiler has the nodes of the
    mirror, each completed by what it had before; also our own node if its object was deleted, and
    peers that were just deleted. Otherwise it has the nodes that it had before that list.
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
        """Whether the last list, or an event since, had our own node."""
        self.underlay = underlay
        self.published: Underlay | None = None
        """The underlay in our own Node object's annotations."""
        self.published_settings = ""
        """The agent's settings in our own Node object's annotations."""
        self.trusted = False
        """Whether a list with our own node has arrived."""
        self.leaving = False
        """Whether our own node is being deleted: load balancers should use other nodes."""
        self.departing = asyncio.Event()
        """Set while there are deleted peers whose routes have to be removed later."""

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
        """Take in an event; returns the touched keys: none while lists without our node are
        ignored.
        """
        changed = self._mirror.take(event)
        if self._own not in self._mirror.known and isinstance(event, Replaced):
            self.believed = False
            self._doubt = None if self._own in self._mirror else self._unknown()
            return NONE
        if self.believed:
            return self._apply(changed)
        if self._own not in self._mirror.known:
            return NONE
        # All events that came while our own node was missing count now.
        self.believed = self.trusted = True
        gone = self._compiler.nodes.keys() - {name for _, name in self._mirror.known}
        return self._apply({**self._mirror.known, **{("", name): None for name in gone}})

    def see_underlay(self, underlay: Underlay) -> frozenset[Key]:
        """The node's own link or addresses have changed."""
        self.underlay = underlay
        here = self._compiler.here
        return self._compiler.set_node(self._with_underlay(here)) if here is not None else NONE

    async def let_go(self, touch: Callable[[frozenset[Key]], None]) -> None:
        """Remove the routes of deleted peers when their time is over, until cancelled."""
        while True:
            await self.departing.wait()
            while (due := self._departed.due) is not None:
                await asyncio.sleep(due - self.clock())
                touch(self.release())
            self.departing.clear()

    def release(self) -> frozenset[Key]:
        """Remove the deleted peers whose time is over; returns the touched keys."""
        return NONE.union(*map(self._remove, self._departed.let_go(self.clock())))

    def _apply(self, changed: Mapping[Name, SeenNode | None]) -> frozenset[Key]:
        """Deletions first, since a new node may take over a prefix of a deleted one.

        Then our own node, since all peers are compiled against it.
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
        """Keep a deleted peer's routes for a while, unless another node has the same prefixes."""
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
    """The node, completed by parts that it once had and now lacks; a Problem for each of them.

    "podCIDRs … may only be set once" (validation of core/v1 NodeSpec): if an object without them
    follows one that had them, it is a new object, and they have not been set yet.
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

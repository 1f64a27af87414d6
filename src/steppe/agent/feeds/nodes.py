"""Node events into the compiler, and when not to believe them.

Fail static: a list that does not hold our own node is not our cluster's (an API server restored
from nothing, a wrong kubeconfig), and the deletion of our own Node object does not unplug pods
that run. In both cases the network stands as it was, and a Problem says so.
"""

import msgspec

from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted, WatchEvent
from steppe.compile.incremental import NodeCompiler
from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Node, Underlay, node_from
from steppe.settings import SETTINGS_ANNOTATION
from steppe.state.node import Key

NONE: frozenset[Key] = frozenset()
DELETION_TAINT = "ToBeDeletedByClusterAutoscaler"
"""What the cluster autoscaler puts on a node before it drains and deletes it."""


class NodeFeed:
    """Keeps the compiler's nodes those of the API, each with what was wrong with it."""

    def __init__(self, compiler: NodeCompiler, name: str, underlay: Underlay) -> None:
        self._compiler = compiler
        self._name = name
        self._own = Cause(ObjectRef("Node", "", name))
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._doubt: Problem | None = None
        self.underlay = underlay
        self.published: Underlay | None = None
        """What our own Node object says of our underlay."""
        self.published_settings = ""
        """What it says of the settings that its agent runs with."""
        self.trusted = False
        """Whether a list that holds our own node has been seen."""
        self.leaving = False
        """Whether our own node is being deleted: load balancers shall look for others."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        found = [problem for group in self._problems.values() for problem in group]
        return tuple(sorted([*found, self._doubt] if self._doubt else found))

    def take(self, event: WatchEvent[wire.Node]) -> frozenset[Key]:
        """Believe the event or not; answers the keys it touched."""
        match event:
            case Replaced(items):
                return self._replace(items)
            case Upserted(item):
                return self._set(item)
            case Deleted(item):
                return self._remove(item.metadata.name)
            case Unreadable(name=name, error=error):
                cause = Cause(ObjectRef("Node", "", name))
                self._problems[name] = (Problem(cause, f"not readable as a Node: {error}"),)
        return NONE

    def see_underlay(self, underlay: Underlay) -> frozenset[Key]:
        """The node's own link or addresses have changed."""
        self.underlay = underlay
        here = self._compiler.here
        return self._compiler.set_node(self._with_underlay(here)) if here is not None else NONE

    def _replace(self, items: tuple[wire.Node, ...]) -> frozenset[Key]:
        names = {item.metadata.name for item in items}
        if self._name not in names:
            self._doubt = Problem(
                self._own,
                "the API server does not know this node, so its list of nodes is not used; "
                "check the agent's --node and --kubeconfig, or register the node",
            )
            return NONE
        touched = NONE.union(*(self._set(item) for item in items))
        gone = self._compiler.nodes.keys() - names
        return touched.union(*(self._remove(name) for name in gone))

    def _set(self, seen: wire.Node) -> frozenset[Key]:
        node, problems = node_from(seen)
        self._problems.pop(node.name, None)
        if problems:
            self._problems[node.name] = problems
        if node.name != self._name:
            return self._compiler.set_node(node)
        self.trusted, self._doubt = True, None
        self.leaving = _is_leaving(seen)
        self.published = node.underlay
        self.published_settings = (seen.metadata.annotations or {}).get(SETTINGS_ANNOTATION, "")
        return self._compiler.set_node(self._with_underlay(node))

    def _remove(self, name: str) -> frozenset[Key]:
        if name == self._name:
            self.leaving = True
            self._doubt = Problem(
                self._own,
                "this node's object was deleted; its pods keep their network until the agent "
                "stops, or register the node again",
            )
            return NONE
        self._problems.pop(name, None)
        return self._compiler.remove_node(name)

    def _with_underlay(self, node: Node) -> Node:
        return msgspec.structs.replace(node, underlay=self.underlay)


def _is_leaving(seen: wire.Node) -> bool:
    taints = {taint.key for taint in seen.spec.taints or ()}
    return bool(seen.metadata.deletion_timestamp) or DELETION_TAINT in taints

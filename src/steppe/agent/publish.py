"""What the agent writes to the API: underlay and settings on its own Node, Problems as Events.

Every agent sees the Problems of objects that all nodes share, but only one agent writes Events for
them (`teller`); while its node is down, only `steppe status` shows them. Nothing here may delay the
network: what fails is tried again.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable

import msgspec

from steppe.agent.feeds.feeds import Feeds
from steppe.agent.log import line
from steppe.agent.node.underlay import UnderlayView
from steppe.agent.outage import Outage
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    ENDPOINTSLICES,
    NETWORKPOLICIES,
    NODES,
    SERVICECIDRS,
    SERVICES,
)
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.objects import UNDERLAY_ANNOTATION, underlay_annotation
from steppe.settings import SETTINGS_ANNOTATION, settings_annotation

log = logging.getLogger("steppe.agent")

INTERVAL_SECONDS = 2.0
FORBIDDEN = 403
_POLICIES = (NETWORKPOLICIES, CLUSTERNETWORKPOLICIES)
_RESOURCES = {
    resource.kind: resource
    for resource in (NODES, SERVICES, ENDPOINTSLICES, SERVICECIDRS, *_POLICIES)
}


def teller(ref: ObjectRef, nodes: Iterable[str]) -> str:
    """The node whose agent reports an object's Problems; "" if there are no nodes.

    It is the node with the highest hash of object and node (rendezvous hashing): agents agree
    without communication, the work is spread, and a node that is added or removed moves only its
    own share.
    """

    def weight(node: str) -> bytes:
        return hashlib.blake2b(f"{ref} {node}".encode()).digest()

    return ref.name if ref.full_kind == NODES.kind else max(nodes, key=weight, default="")


def witness(ref: ObjectRef, nodes: Iterable[str]) -> str:
    """The node whose agent tells what peers find wrong with a Node, which may have no agent."""
    others = (name for name in nodes if name != ref.name)
    return teller(ObjectRef("", "", ref.name), others)


class Publisher:
    """Keeps what this node publishes in the API up to date.

    Invariant: nothing is published before `trusted`; a Problem is reported once for as long as it
    lasts.
    """

    def __init__(
        self,
        client: Client,
        compiler: NodeCompiler,
        feeds: Feeds,
        events: EventRecorder,
        underlay: UnderlayView,
    ) -> None:
        self._client = client
        self._compiler = compiler
        self._feeds = feeds
        self._events = events
        self._underlay = underlay
        self._logged: frozenset[Problem] = frozenset()
        self._reported: frozenset[Problem] = frozenset()
        self._outage = Outage("publish-failed")

    async def run(self) -> None:
        """Publish until cancelled; ApiError if the API server refuses it."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.publish()

    async def publish(self) -> None:
        """Write what is new once; ApiError if the API server refuses it."""
        self.log_problems()
        with self._outage:
            await self.publish_node()
            await self.tell_problems()

    async def publish_node(self) -> None:
        """Update our Node's annotations, which peers and offline tools read."""
        feed = self._feeds.nodes
        settings = settings_annotation(self._compiler.settings)
        unchanged = feed.published == feed.underlay and feed.published_settings == settings
        if unchanged or not feed.trusted or not self._underlay.known:
            return
        underlay = underlay_annotation(feed.underlay)
        annotations = {UNDERLAY_ANNOTATION: underlay, SETTINGS_ANNOTATION: settings}
        patch = {"metadata": {"annotations": annotations}}
        await self._client.patch(NODES, self._compiler.name, patch)
        feed.published, feed.published_settings = feed.underlay, settings
        log.info(line("published", node=self._compiler.name, underlay=underlay, settings=settings))

    def log_problems(self) -> None:
        """A line for each Problem that is ours to tell and new, whether or not the API answers."""
        own = self._own_problems()
        for problem in sorted(own - self._logged):
            log.warning(line("problem", cause=problem.cause, message=problem.message))
        self._logged = own

    async def tell_problems(self) -> None:
        """Write Events for new Problems that this node reports."""
        own = self._own_problems()
        self._reported &= own
        for problem in sorted(own - self._reported):
            await self._tell(problem)
            self._reported |= {problem}

    def _own_problems(self) -> frozenset[Problem]:
        shared = frozenset((*self._feeds.problems, *self._underlay.problems))
        # Problems that only compiling a policy finds exist on nodes with pods of the policy.
        policies = {resource.kind for resource in _POLICIES}
        local = {p for p in self._compiler.problems if p.cause.ref.full_kind in policies} - shared
        return frozenset(
            problem
            for problem in (*shared, *self._compiler.problems)
            if problem in local
            or not problem.cause.ref.name  # of a whole kind: what the API refuses this agent
            or teller(problem.cause.ref, self._compiler.nodes) == self._compiler.name
            or (problem not in shared and self._is_witness(problem.cause.ref))
        )

    def _is_witness(self, ref: ObjectRef) -> bool:
        nodes = self._compiler.nodes
        return ref.kind == NODES.kind and witness(ref, nodes) == self._compiler.name

    async def _tell(self, problem: Problem) -> None:
        ref = problem.cause.ref
        resource = _RESOURCES.get(ref.full_kind)
        if resource is None or not ref.name:
            return
        version = resource.api_version
        try:
            seen = await self._client.get(resource, ref.name, ref.namespace)
            # `kubectl describe` finds the Events about an object by its uid.
            uid, version = seen["metadata"]["uid"], seen.get("apiVersion", version)
        except ApiError as error:
            if error.not_found:
                return
            if error.status != FORBIDDEN:
                raise
            uid = ""
        about = reference(resource, ref.name, ref.namespace, uid)
        about = msgspec.structs.replace(about, api_version=version)
        where = f"{problem.cause.field}: " if problem.cause.field else ""
        self._events.event(about, "Warning", "NotServed", where + problem.message)

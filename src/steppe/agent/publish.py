"""What the agent writes to the API: underlay and settings on its own Node, Problems as Events.

Every agent sees the Problems of objects that all nodes share, but only one agent writes Events for
them (tellers.py); while its node is down, only `steppe status` shows them. Nothing here may delay
the network: what fails is tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from steppe.agent.feeds.feeds import Feeds
from steppe.agent.log import line
from steppe.agent.node.underlay import UnderlayView
from steppe.agent.outage import Outage
from steppe.agent.tellers import Tellers
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import (
    BGPPEERS,
    BGPSETTINGS,
    CLUSTERNETWORKPOLICIES,
    ENDPOINTSLICES,
    NETWORKPOLICIES,
    NODES,
    SERVICECIDRS,
    SERVICES,
)
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Problem
from steppe.kube.objects import UNDERLAY_ANNOTATION, underlay_annotation
from steppe.settings import SETTINGS_ANNOTATION, settings_annotation

log = logging.getLogger("steppe.agent")

INTERVAL_SECONDS = 2.0
FORBIDDEN = 403
_POLICIES = (NETWORKPOLICIES, CLUSTERNETWORKPOLICIES)
_POLICY_KINDS = frozenset(resource.kind for resource in _POLICIES)
_RESOURCES = {
    resource.kind: resource
    for resource in (
        *(NODES, SERVICES, ENDPOINTSLICES, SERVICECIDRS, BGPPEERS, BGPSETTINGS),
        *_POLICIES,
    )
}


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
        *,
        sessions: Callable[[], Iterable[Problem]] = tuple,
    ) -> None:
        """`sessions`: Problems that this node alone has, of its own BGP sessions."""
        self._sessions = sessions
        self._client = client
        self._compiler = compiler
        self._feeds = feeds
        self._events = events
        self._underlay = underlay
        self._logged: frozenset[Problem] = frozenset()
        self._reported: frozenset[Problem] = frozenset()
        self._tellers = Tellers()
        self._outage = Outage("publish-failed")

    async def run(self) -> None:
        """Publish until cancelled; ApiError if the API server refuses it."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.publish()

    async def publish(self) -> None:
        """Write what is new once; ApiError if the API server refuses it."""
        own = self.own_problems()
        self._log(own)
        with self._outage:
            await self.publish_node()
            await self.tell(own)

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

    def _log(self, own: frozenset[Problem]) -> None:
        """A line for each Problem that is ours to tell and new, whether or not the API answers."""
        for problem in sorted(own - self._logged):
            log.warning(line("problem", cause=problem.cause, message=problem.message))
        self._logged = own

    async def tell(self, own: frozenset[Problem]) -> None:
        """Write Events for those that were not told before."""
        self._reported &= own
        for problem in sorted(own - self._reported):
            await self._tell(problem)
            self._reported |= {problem}

    def own_problems(self) -> frozenset[Problem]:
        """The Problems that this node reports."""
        if self._tellers.nodes != self._compiler.nodes.keys():
            self._tellers = Tellers(self._compiler.nodes)
        shared = frozenset((*self._feeds.problems, *self._underlay.problems))
        alone = frozenset(self._compiler.problems) - shared
        ours = (*filter(self._is_ours, shared), *filter(self._is_ours_alone, alone))
        return frozenset((*ours, *self._sessions()))

    def _is_ours(self, problem: Problem) -> bool:
        ref = problem.cause.ref
        # Without a name it is of a whole kind: what the API refuses this agent.
        return not ref.name or self._tellers.teller(ref) == self._compiler.name

    def _is_ours_alone(self, problem: Problem) -> bool:
        """Whether to report what compiling alone has found."""
        ref = problem.cause.ref
        if ref.full_kind in _POLICY_KINDS:
            return True  # it exists on nodes with pods of the policy
        is_witness = ref.kind == NODES.kind and self._tellers.witness(ref) == self._compiler.name
        return is_witness or self._is_ours(problem)

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

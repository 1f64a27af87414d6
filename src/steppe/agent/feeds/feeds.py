"""What the API says, kept in the compiler: every list followed, and when to believe them all.

Fail static: until every list that the kernel depends on has been seen, nothing of the kernel is
changed. What an earlier agent left there goes on serving.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol, TypeVar

from steppe.agent.feeds.nodes import NodeFeed
from steppe.agent.feeds.policies import PolicyFeed
from steppe.agent.feeds.ranges import RangeFeed
from steppe.agent.feeds.services import ServiceFeed
from steppe.agent.health.health_ports import HealthPortServer
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.agent.log import line
from steppe.client.client import Client
from steppe.client.informer import Replaced, WatchEvent, WatchStatus, watch
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    ENDPOINTSLICES,
    NAMESPACES,
    NETWORKPOLICIES,
    NODES,
    PODS,
    SERVICECIDRS,
    SERVICES,
    Resource,
)
from steppe.compile.incremental import NodeCompiler
from steppe.kube import policy_wire, service_wire, wire
from steppe.kube.cause import Problem
from steppe.kube.objects import Underlay
from steppe.kube.services import HEADLESS_LABEL
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")
T = TypeVar("T")
Job = Coroutine[None, None, None]


class Listener(Protocol):
    """Who is told of what the API has changed."""

    def touch(self, keys: Iterable[Key]) -> None:
        """These keys' entries may have changed."""

    async def nodes_listed(self) -> None:
        """All nodes are known now, or anew."""


class Feeds:
    """Every kind of object that one node's tables depend on."""

    def __init__(
        self,
        client: Client,
        compiler: NodeCompiler,
        underlay: Underlay,
        proxy_health: ProxyHealth,
    ) -> None:
        self._client = client
        self._compiler = compiler
        self.nodes = NodeFeed(compiler, compiler.name, underlay)
        self.services = ServiceFeed(compiler)
        self.ranges = RangeFeed(compiler)
        self.policies = PolicyFeed(compiler)
        self.health_ports = HealthPortServer(compiler, lambda: proxy_health.healthy)
        self.proxy_health = proxy_health
        self.status = WatchStatus()
        """Of the watch of nodes: all go to the same API server."""
        self.watches = {NODES.plural: self.status}

    @property
    def trusted(self) -> bool:
        """Whether all is known that the kernel depends on; half the truth would take away."""
        settings = self._compiler.settings
        services = (self.services.complete and self.ranges.complete) or not settings.services
        policies = self.policies.complete or not settings.policies
        return self.nodes.trusted and services and policies

    @property
    def problems(self) -> Iterable[Problem]:
        feeds = (self.nodes, self.services, self.ranges, self.policies)
        servers = (self.health_ports, self.proxy_health)
        return (problem for source in (*feeds, *servers) for problem in source.problems)

    def jobs(self, listener: Listener) -> Iterable[Job]:
        """What follows the API, each until it is cancelled."""
        settings = self._compiler.settings
        yield self._follow_nodes(listener)
        if settings.services:
            yield from self._follow_services(listener)
        if settings.policies:
            yield from self._follow_policies(listener)

    async def _follow_nodes(self, listener: Listener) -> None:
        events = watch(self._client, NODES, wire.Node, status=self.status)
        async with contextlib.aclosing(events):
            async for event in events:
                began = time.monotonic()
                touched = self.nodes.take(event)
                if isinstance(event, Replaced):
                    self._tell_listed(len(event.items), time.monotonic() - began)
                    await listener.nodes_listed()
                if touched or isinstance(event, Replaced):
                    self.health_ports.changed()
                    listener.touch(touched)

    def _tell_listed(self, nodes: int, seconds: float) -> None:
        entries = len(self._compiler.state)
        log.info(line("listed", nodes=nodes, entries=entries, seconds=f"{seconds:.3f}"))

    def _follow_services(self, listener: Listener) -> Iterable[Job]:
        services, slices, ranges = service_wire.Service, service_wire.EndpointSlice, self.ranges
        yield self._follow(listener, SERVICES, services, self.services.take_service)
        yield self._follow(
            listener, ENDPOINTSLICES, slices, self.services.take_slice, f"!{HEADLESS_LABEL}"
        )
        yield self._follow(listener, SERVICECIDRS, service_wire.ServiceCIDR, ranges.take)
        yield self.health_ports.run()
        yield self.proxy_health.run()

    def _follow_policies(self, listener: Listener) -> Iterable[Job]:
        feed = self.policies
        yield self._follow(listener, PODS, wire.Pod, feed.take_pod)
        yield self._follow(listener, NAMESPACES, policy_wire.Namespace, feed.take_namespace)
        yield self._follow(listener, NETWORKPOLICIES, policy_wire.NetworkPolicy, feed.take_policy)
        cluster_wide = policy_wire.ClusterNetworkPolicy
        yield self._follow(listener, CLUSTERNETWORKPOLICIES, cluster_wide, feed.take_cluster_policy)

    async def _follow(
        self,
        listener: Listener,
        resource: Resource,
        type_: Callable[..., T],
        take: Callable[[WatchEvent[T]], frozenset[Key]],
        label_selector: str = "",
    ) -> None:
        status = self.watches[resource.plural] = WatchStatus()
        events = watch(self._client, resource, type_, label_selector=label_selector, status=status)
        async with contextlib.aclosing(events):
            async for event in events:
                listener.touch(take(event))
                if resource is SERVICES or isinstance(event, Replaced):
                    self.health_ports.changed()
                del event  # it may be a whole list, and the next one may be long in coming

"""Follows every list of the API for the compiler, and knows when all are complete.

Fail static: an incomplete list looks like deletions, so nothing in the kernel is changed before
every list that it depends on is complete. The entries of an earlier agent stay in use.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Container, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from steppe.agent.feeds.bgp import BgpFeed
from steppe.agent.feeds.feed import Feed, Follow
from steppe.agent.feeds.nodes import NodeFeed
from steppe.agent.feeds.policies import PolicyFeed
from steppe.agent.feeds.ranges import RangeFeed
from steppe.agent.feeds.services import ServiceFeed
from steppe.agent.health.health_ports import HealthPortServer
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.agent.hurry import Hurry
from steppe.agent.log import line
from steppe.agent.supervisor import Job
from steppe.client.client import Client
from steppe.client.informer import Replaced, WatchStatus, watch
from steppe.client.mirror import Kind
from steppe.client.resources import NODES, SERVICES
from steppe.compile.incremental import NodeCompiler
from steppe.errors import SteppeError
from steppe.fabric.registry import speaks_bgp
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Underlay
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")


TURN_SECONDS = 0.02
"""For how long one kind's events are worked off before others have their turn."""


class Listener(Protocol):
    """Is called when the API has changed something."""

    def touch(self, keys: Iterable[Key]) -> None:
        """These keys' entries may have changed."""

    async def nodes_listed(self) -> None:
        """A complete list of nodes has arrived, the first or a later one."""


class Feeds:
    """Every kind of object that one node's tables depend on."""

    def __init__(
        self,
        client: Client,
        compiler: NodeCompiler,
        underlay: Underlay,
        proxy_health: ProxyHealth,
        hurry: Hurry | None = None,
    ) -> None:
        self._client = client
        self._compiler = compiler
        self.nodes = NodeFeed(compiler, compiler.name, underlay)
        self.services = ServiceFeed(compiler, hurry)
        self.ranges = RangeFeed(compiler)
        self.policies = PolicyFeed(compiler, hurry)
        self.bgp = BgpFeed()
        settings = compiler.settings
        self.followed: list[Feed] = [
            self.nodes,
            *((self.services, self.ranges) if settings.services else ()),
            *((self.policies,) if settings.policies else ()),
            *((self.bgp,) if speaks_bgp(settings) else ()),
        ]
        """The registry: all feeds in it are followed, waited for, and asked for Problems."""
        self.health_ports = HealthPortServer(compiler, lambda: proxy_health.healthy)
        self.proxy_health = proxy_health
        self.status = WatchStatus()
        """The status of the nodes' watch; all watches go to the same API server."""
        self.watches = {NODES.plural: self.status}

    @property
    def trusted(self) -> bool:
        """Whether every list that the kernel depends on is complete; else nothing is changed."""
        return all(feed.complete for feed in self.followed)

    @property
    def problems(self) -> tuple[Problem, ...]:
        found = [problem for feed in self.followed for problem in feed.problems]
        found += self._not_listed({problem.cause for problem in found})
        return (*found, *self.health_ports.problems, *self.proxy_health.problems)

    def _not_listed(self, reported: Container[Cause]) -> Iterator[Problem]:
        """A Problem for each kind whose first list fails while others arrive: everything waits.

        One that has not been tried again since the API server answers is not at fault.
        """
        since = self.status.synced_since
        if since is None:
            return
        for kind in (follow.kind for feed in self.followed for follow in feed.follows):
            status = self.watches.get(kind.resource.plural)
            if status is None or (status.absent and kind.may_be_absent):
                continue
            waiting = not status.relists and status.last_error
            failed = status.broken_at is not None and status.broken_at > since
            if waiting and failed and kind.cause not in reported:
                yield Problem(kind.cause, f"not listed yet: {waiting}; {kind.until_listed}")

    @property
    def out_of_sync(self) -> str:
        """Why changes in the API do not all come in now; "" while every list is watched."""
        kinds = (follow.kind for feed in self.followed for follow in feed.follows)
        return next(filter(None, map(self._out_of_sync, kinds)), "")

    def _out_of_sync(self, kind: Kind[Any, Any]) -> str:
        status = self.watches.get(kind.resource.plural)
        if status is None:
            return f"{kind.resource.plural} are not followed yet"
        if status.synced_since is not None or (status.absent and kind.may_be_absent):
            return ""
        return status.last_error or f"{kind.resource.plural} are not listed yet"

    def jobs(self, listener: Listener) -> Iterable[Job]:
        """The jobs that follow the API, one for each kind; a restarted job lists again."""
        for feed in self.followed:
            for follow in feed.follows:
                plural = follow.kind.resource.plural
                yield Job(f"follow-{plural}", partial(self._follow, listener, follow))
        yield Job("policy-work", partial(self.policies.behind.work, listener.touch))
        yield Job("departed-nodes", partial(self.nodes.let_go, listener.touch))
        if self._compiler.settings.services:
            yield Job("service-work", partial(self.services.behind.work, listener.touch))
            yield Job("health-check-ports", self.health_ports.run)
            yield Job("proxy-health", self.proxy_health.run)

    async def _follow(self, listener: Listener, follow: Follow) -> None:
        resource = follow.kind.resource
        status = self.watches.setdefault(resource.plural, WatchStatus())
        try:
            await self._take(listener, follow, status)
        except (SteppeError, OSError) as error:
            # The supervisor tells of it; what the API says meanwhile does not come in.
            status.broken(f"{resource.plural} are not followed: {error}")
            raise

    async def _take(self, listener: Listener, follow: Follow, status: WatchStatus) -> None:
        kind, resource = follow.kind, follow.kind.resource
        events = watch(
            self._client,
            resource,
            kind.wire,
            kept=kind.check,
            label_selector=kind.label_selector,
            status=status,
        )
        busy = 0.0
        async with contextlib.aclosing(events):
            async for event in events:
                listed = isinstance(event, Replaced)
                began, believed = time.monotonic(), self.nodes.believed
                touched = follow.take(event)
                if resource is NODES and (listed or self.nodes.believed != believed):
                    self._tell_listed(time.monotonic() - began)
                    await listener.nodes_listed()
                if listed or resource is SERVICES or (touched and resource is NODES):
                    self.health_ports.changed()
                # Nodes are updated many times a minute. Every event of other kinds counts, because
                # a pod may be waiting for it.
                if listed or touched or resource is not NODES:
                    listener.touch(touched)
                del event  # a list may be large: free it before waiting for the next event
                busy += time.monotonic() - began
                if busy > TURN_SECONDS:
                    # Events that are here already come without a wait between them.
                    busy = 0.0
                    await asyncio.sleep(0)

    def _tell_listed(self, seconds: float) -> None:
        nodes, entries = len(self._compiler.nodes), len(self._compiler.state)
        log.info(line("listed", nodes=nodes, entries=entries, seconds=f"{seconds:.3f}"))

"""Tells load balancers over HTTP whether this node may take their traffic, as kube-proxy does.

"If Cluster is specified all nodes are eligible load balancing targets as long as the node is not
being deleted and kube-proxy is healthy. In this mode: load balancer health checks are configured
to target the service proxy's readiness port and path. In the case of kube-proxy this evaluates to:
${NODE_IP}:10256/healthz." (Virtual IPs and Service Proxies)

    GET /healthz   200 while the agent makes progress and the node is not being deleted, else 503
    GET /livez     the same without regard to the node: whether to restart the agent

A port that cannot be had is a Problem of the Node and is tried again: while one proxy takes over
from another, both want it.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web

from steppe.agent.log import line
from steppe.agent.shares import PROXY_HEALTH
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.serving.http import running
from steppe.serving.limits import Limits
from steppe.serving.listener import Listener
from steppe.serving.sockets import tcp_sockets

log = logging.getLogger("steppe.agent")

LATE_SECONDS = 60.0
"""Seconds that one pass over the kernel may take; kube-proxy's limit is twice its syncPeriod."""
RETRY_SECONDS = 2.0


class Place(msgspec.Struct, frozen=True):
    """Where to listen; with the host "" on all addresses of the machine."""

    host: str
    port: int


class ProxyHealth:
    """`place`: where to answer, None for nowhere.

    `busy`: for how many seconds a pass over the kernel has been going on.

    `leaving`: whether the node is being deleted.
    """

    def __init__(
        self,
        node: str,
        place: Place | None,
        *,
        busy: Callable[[], float],
        leaving: Callable[[], bool],
        limits: Limits = PROXY_HEALTH,
    ) -> None:
        self._cause = Cause(ObjectRef("Node", "", node))
        self._place = place
        self._busy = busy
        self._leaving = leaving
        self._limits = limits
        self.problems: tuple[Problem, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether "it's able to progress programming the network and isn't timing out"."""
        return self._busy() < LATE_SECONDS

    async def run(self) -> None:
        """Answer until cancelled."""
        if self._place is None:
            await asyncio.Event().wait()
            return
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.get("/livez", self._livez)])
        async with running(app, self._limits) as listener:
            # There is no notification when a port becomes free, so try again.
            while not await self._listen(listener, self._place):  # noqa: ASYNC110
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.Event().wait()

    async def _listen(self, listener: Listener, place: Place) -> bool:
        try:
            for each in await tcp_sockets(place.host, place.port):
                listener.open(each)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            why = (
                f"load balancers cannot ask for this node's health: port {place.port} cannot be "
                f"had ({reason}); it is tried again, or give another --proxy-health-listen"
            )
            self.problems = (Problem(self._cause, why),)
            return False
        self.problems = ()
        log.info(line("proxy-health", address=place.host or "all", port=place.port))
        return True

    async def _healthz(self, _: web.Request) -> web.Response:
        eligible = not self._leaving()
        return self._answer(self.healthy and eligible, nodeEligible=eligible)

    async def _livez(self, _: web.Request) -> web.Response:
        return self._answer(self.healthy)

    def _answer(self, good: bool, **more: bool) -> web.Response:
        now = datetime.now(UTC)
        # Of a healthy proxy kube-proxy says that it was updated just now.
        updated = now if good else now - timedelta(seconds=self._busy())
        document = {"lastUpdated": updated.isoformat(), "currentTime": now.isoformat(), **more}
        return web.json_response(
            document, status=200 if good else 503, headers={"X-Content-Type-Options": "nosniff"}
        )

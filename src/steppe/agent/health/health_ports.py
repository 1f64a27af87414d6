"""Serves Services' health check node ports over HTTP, for load balancers to ask.

    compiler ── which ports ──▶ listeners ◀── GET ── load balancer
        └───────── how many endpoints, counted when asked ──▲

A port that cannot be had is a Problem and is tried again; all others are served meanwhile. The
answer is that of kube-proxy, which load balancers know.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable

from aiohttp import web

from steppe.agent.log import line
from steppe.agent.shares import HEALTH_PORTS
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Cause, Problem
from steppe.kube.services import Service
from steppe.net.address import parse_address
from steppe.service.health import FIELD, Listen, health_ports, local_endpoints
from steppe.serving.http import running
from steppe.serving.limits import Limits
from steppe.serving.listener import Listener
from steppe.serving.sockets import tcp_sockets

log = logging.getLogger("steppe.agent")

RETRY_SECONDS = 2.0


class HealthPortServer:
    """Opens and closes health check ports when Services or the node have changed."""

    def __init__(
        self,
        compiler: NodeCompiler,
        healthy: Callable[[], bool],
        limits: Limits = HEALTH_PORTS,
    ) -> None:
        self._limits = limits
        self._compiler = compiler
        self._healthy = healthy
        self._services: dict[Listen, Service] = {}
        self._sites: dict[Listen, list[socket.socket]] = {}
        self._doubled: tuple[Problem, ...] = ()
        self._refused: dict[Listen, Problem] = {}
        self._wake = asyncio.Event()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self._doubled, *self._refused.values())

    def changed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Follow the compiler until cancelled; every port is closed then."""
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self._answer)])
        self._wake.set()
        try:
            async with running(app, self._limits) as listener:
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_SECONDS if self._refused else None):
                            await self._wake.wait()
                    self._wake.clear()
                    await self._match(listener)
        finally:
            self._sites.clear()

    async def _match(self, listener: Listener) -> None:
        vantage = self._compiler.vantage
        if vantage is not None:
            wanted = health_ports(vantage, self._compiler.services)
            self._services, self._doubled = wanted.services, wanted.problems
        # What was refused stays told of while it is tried again.
        self._refused = {p: why for p, why in self._refused.items() if p in self._services}
        for place in self._sites.keys() - self._services.keys():
            for each in self._sites.pop(place):
                listener.shut(each)
            log.info(line("health-port-closed", address=place[0], port=place[1]))
        for place in self._services.keys() - self._sites.keys():
            await self._open(listener, place)

    async def _open(self, listener: Listener, place: Listen) -> None:
        (address, port), service = place, self._services[place]
        try:
            site = await tcp_sockets(str(address), port)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            why = f"cannot listen on {address} port {port} ({reason}); it is tried again"
            self._refused[place] = Problem(Cause(service.ref, FIELD), why)
            return
        for each in site:
            listener.open(each)
        self._sites[place] = site
        self._refused.pop(place, None)
        log.info(line("health-port-open", address=address, port=port, cause=service.ref))

    async def _answer(self, request: web.Request) -> web.Response:
        """Whether the Service of the port that was asked has endpoints on this node."""
        host, port, *_ = request.get_extra_info("sockname")
        address = parse_address(host)
        service = self._services.get((address, port))
        if service is None:
            return web.Response(status=404)
        slices = self._compiler.slices_of(service.namespace, service.name)
        count = local_endpoints(self._compiler.name, slices, address.version)
        healthy = self._healthy()
        return web.json_response(
            {
                "service": {"namespace": service.namespace, "name": service.name},
                "localEndpoints": count,
                "serviceProxyHealthy": healthy,
            },
            status=200 if count and healthy else 503,
            headers={
                "X-Content-Type-Options": "nosniff",
                "X-Load-Balancing-Endpoint-Weight": str(count),
            },
        )

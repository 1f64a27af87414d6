"""Prometheus metrics and health, over HTTP, on loopback by default.

/healthz answers 200 while the process works at all; /readyz only once pods can be attached.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from steppe.agent.shares import METRICS
from steppe.errors import SteppeError
from steppe.serving.http import running
from steppe.serving.limits import Limits
from steppe.serving.sockets import tcp_sockets


class Metrics:
    """The agent's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counted: dict[str, int] = {}
        self.entries = self._gauge("steppe_entries", "Entries desired, by table", ["table"])
        self.failed = self._gauge("steppe_failed_entries", "Entries the kernel refused")
        self.problems = self._gauge("steppe_problems", "Objects' parts that cannot be served")
        self.in_sync = self._gauge("steppe_in_sync", "1 while nothing is left to change")
        self.api_synced = self._gauge(
            "steppe_api_in_sync", "1 while every list that the agent follows is watched"
        )
        self.changes = Counter(
            "steppe_changes", "Changes made", ["table", "verb"], registry=self.registry
        )
        self.denied = Counter(
            "steppe_denied_packets",
            "Packets denied to this node's pods, for each policy that guards the pod",
            ["direction", "policy"],
            registry=self.registry,
        )
        self.repairs = Counter(
            "steppe_repairs", "Entries someone else changed", ["table"], registry=self.registry
        )
        self.job_failures = Counter(
            "steppe_job_failures",
            "Times that one of the agent's jobs failed and was tried again",
            ["job"],
            registry=self.registry,
        )
        self.apply_seconds = Histogram(
            "steppe_apply_seconds", "From plan to the kernel's answer", registry=self.registry
        )

    def count(self, entries: Mapping[str, int]) -> None:
        """Set the numbers of desired entries, by table."""
        for table, number in entries.items() - self._counted.items():
            self.entries.labels(table).set(number)
        self._counted = dict(entries)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] | list[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


async def serve(
    listen: str, metrics: Metrics, ready: Callable[[], str], limits: Limits = METRICS
) -> None:
    """Serve until cancelled; `ready` answers "" or why the node is not ready.

    SteppeError where the address cannot be listened on. With no address nothing is served.
    """

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain")

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(_: web.Request) -> web.Response:
        why = ready()
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", show), web.get("/healthz", health), web.get("/readyz", readiness)]
    )
    host, _, port = listen.rpartition(":")
    async with running(app, limits) as listener:
        try:
            for each in await tcp_sockets(host.strip("[]"), int(port)) if listen else ():
                listener.open(each)
        except (OSError, ValueError) as error:
            raise SteppeError(f"cannot listen on {listen} (--metrics-listen): {error}") from error
        await asyncio.Event().wait()

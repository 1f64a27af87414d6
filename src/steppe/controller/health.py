"""Health and metrics over HTTP, on loopback by default."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from steppe.client.informer import WatchStatus
from steppe.errors import SteppeError


class ListenError(SteppeError):
    """The address for health and metrics cannot be used."""


class Metrics:
    """The controller's Prometheus metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.assigned = Counter(
            "steppe_controller_pod_cidrs_assigned",
            "Nodes given pod prefixes since start.",
            registry=self.registry,
        )
        self.leading = Gauge(
            "steppe_controller_leader", "1 while this process leads.", registry=self.registry
        )
        self._nodes = Gauge("steppe_controller_nodes", "Nodes known.", registry=self.registry)
        self._problems = Gauge(
            "steppe_controller_problems", "Problems with pod prefixes.", registry=self.registry
        )
        self._free = Gauge(
            "steppe_controller_pod_cidrs_free",
            "Prefixes left to give out.",
            ["family"],
            registry=self.registry,
        )

    def planned(self, nodes: int, problems: int, free: dict[str, int]) -> None:
        self._nodes.set(nodes)
        self._problems.set(problems)
        for family, count in free.items():
            self._free.labels(family).set(count)


def health_text(status: WatchStatus, *, leading: bool, now: float) -> str:
    """Lines for people; the process counts as healthy as long as it can answer with them."""
    synced = status.synced_since
    contact = status.last_contact
    return "\n".join(
        (
            "ok",
            f"leader: {'yes' if leading else 'no'}",
            f"in sync for: {now - synced:.0f} s" if synced is not None else "in sync: no",
            f"last contact: {now - contact:.0f} s ago" if contact is not None else "no contact yet",
            *((f"last error: {status.last_error}",) if status.last_error else ()),
            "",
        )
    )


@contextlib.asynccontextmanager
async def serve(
    listen: str, metrics: Metrics, status: WatchStatus, leading: Callable[[], bool]
) -> AsyncIterator[str]:
    """Serve /healthz and /metrics; yields the address, for callers that asked for port 0."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise ListenError(f"--health-listen {listen!r} is not ADDRESS:PORT")

    async def healthz(_: web.Request) -> web.Response:
        # Healthy even without the API server: a restart would not bring the API server back.
        return web.Response(text=health_text(status, leading=leading(), now=time.monotonic()))

    async def exposition(_: web.Request) -> web.Response:
        metrics.leading.set(leading())
        return web.Response(
            body=generate_latest(metrics.registry), content_type="text/plain", charset="utf-8"
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", exposition)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]"), int(port))
        try:
            await site.start()
        except OSError as error:
            raise ListenError(f"cannot listen on {listen}: {error.strerror}") from error
        address = runner.addresses[0]
        yield f"{host}:{address[1]}"
    finally:
        await runner.cleanup()

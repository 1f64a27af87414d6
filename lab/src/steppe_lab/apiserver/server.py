"""The server process: put the parts together, listen, say that it is ready, stop cleanly.

Database ─ Store ─┐
Registry (kinds) ─┼─ Api ── App ── aiohttp over TLS ── admin.kubeconfig (ready)
Behaviours ───────┘
"""

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from aiohttp import web

from steppe.errors import SteppeError
from steppe.serving.limits import Limits
from steppe.serving.listener import Listener, accepting
from steppe.serving.sockets import raise_file_limit, tcp_sockets
from steppe_lab.apiserver.allocate import ServiceBehaviour
from steppe_lab.apiserver.api import Api, utc_now
from steppe_lab.apiserver.app import App
from steppe_lab.apiserver.auth import ensure_tokens, write_kubeconfigs
from steppe_lab.apiserver.behaviour import NamespaceBehaviour
from steppe_lab.apiserver.bootstrap import bootstrap
from steppe_lab.apiserver.crd import DEFINITIONS, DefinitionBehaviour
from steppe_lab.apiserver.database import Database
from steppe_lab.apiserver.kinds import Context
from steppe_lab.apiserver.negotiation import BODY_LIMIT
from steppe_lab.apiserver.registry import Registry
from steppe_lab.apiserver.store import Store
from steppe_lab.apiserver.tls import ensure_certificates, server_context

# Where every node reaches the API on its loopback.
_NODE_PORT = 6443
_RESTORE_SECONDS = 10.0
# An idle connection is kept for longer than any client keeps it, so that it is never the server
# that closes one just as a request is sent on it. A hundred nodes' clients have some ten each.
_LIMITS = Limits(connections=4096, head=10.0, idle=3600.0, body=BODY_LIMIT)
_SHUTDOWN_SECONDS = 60.0
# Selectors make long request lines.
_LONGEST_LINE = 64 * 1024


class ListenError(SteppeError):
    """The address or port cannot be had."""


class Settings(msgspec.Struct, frozen=True):
    """The command line of the server."""

    data: Path
    listen: str = "127.0.0.1"
    port: int = 0
    range4: str = "10.96.0.0/16"
    range6: str = "fd00:10:96::/112"
    families: tuple[str, ...] = ("IPv4", "IPv6")

    @property
    def ranges(self) -> tuple[str, ...]:
        by_family = {"IPv4": self.range4, "IPv6": self.range6}
        return tuple(by_family[family] for family in self.families)

    @property
    def first_addresses(self) -> tuple[str, ...]:
        """The service addresses of the API itself, one a family."""
        return tuple(str(ipaddress.ip_network(prefix)[1]) for prefix in self.ranges)


def build(settings: Settings, database: Database) -> Api:
    store = Store(database)
    ranges = dict(zip(settings.families, settings.ranges, strict=True))
    api = Api(
        store=store,
        registry=Registry(),
        context=Context(families=settings.families),
        behaviours={
            "namespaces": NamespaceBehaviour(),
            "services": ServiceBehaviour(ranges, store.collection("services").records.values()),
        },
        clock=utc_now,
    )
    api.behaviours[DEFINITIONS] = DefinitionBehaviour(api)
    return api


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    raise_file_limit()
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.data.chmod(0o700)
    ready = settings.data / "admin.kubeconfig"
    # A file left by an earlier run must not pass for the readiness of this one.
    ready.unlink(missing_ok=True)
    ensure_certificates(
        settings.data, ("127.0.0.1", "::1", settings.listen, *settings.first_addresses)
    )
    tokens = ensure_tokens(settings.data)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(settings.data / "state.db")
    try:
        api = build(settings, database)
        bootstrap(api, settings.ranges, _NODE_PORT)
        app = App(api, tokens, settings.listen)
        async with _answering(app, settings) as listener:
            url = await _listen(listener, settings)
            write_kubeconfigs(settings.data, url, tokens)
            await _until(stop, lambda: bootstrap(api, settings.ranges, _NODE_PORT))
            app.closing.set()
            api.store.wake_all()
    finally:
        database.close()


@contextlib.asynccontextmanager
async def _answering(app: App, settings: Settings) -> AsyncIterator[Listener]:
    """The HTTP side, within limits; at the end requests under way are seen through."""
    listeners: list[Listener] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        with listeners[0].answering(request.transport):
            return await app.handle(request)

    http = web.Server(
        handle,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_LIMITS.idle,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
    )
    async with accepting(_LIMITS, http, tls=server_context(settings.data)) as listener:
        listeners.append(listener)
        try:
            yield listener
        finally:
            listener.stop()
            http.pre_shutdown()
            await http.shutdown(_SHUTDOWN_SECONDS)


async def _until(stop: asyncio.Event, restore: Callable[[], None]) -> None:
    """Wait for the end; meanwhile put back what no cluster is without, as kube-apiserver does."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(_RESTORE_SECONDS):
                await stop.wait()
        except TimeoutError:
            restore()


async def _listen(listener: Listener, settings: Settings) -> str:
    """Open the port; the URL that reaches it."""
    try:
        sockets = await tcp_sockets(settings.listen, settings.port)
    except OSError as error:
        where = f"{settings.listen} port {settings.port}"
        raise ListenError(f"cannot listen on {where}: {error}") from error
    for each in sockets:
        listener.open(each)
    address, port, *_ = sockets[0].getsockname()
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{port}"

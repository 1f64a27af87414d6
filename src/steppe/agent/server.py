"""How the agent is asked: HTTP over STATE_DIR/agent.sock, which is root's alone.

    curl --unix-socket /run/steppe/agent.sock http://localhost/v1/status

    GET  /v1/status                     how the agent is, and what is wrong
    GET  /v1/show/{table}?cause=        what a table shall hold; `all` for every table
    GET  /v1/tables?address=&address=   what traffic of these addresses meets in the kernel
    POST /v1/tables                     the same for many: {"addresses": ["10.244.1.5"]}
    GET  /v1/audit                      the kernel against what it shall hold
    POST /v1/audit                      the same, and then puts it right
    GET  /v1/bgp                        BGP sessions, announcements and learned routes
    GET  /v1/denied                     packets that policies have denied, counted
    GET  /v1/denied?follow=true         each as it is denied, a JSON document a line, for ever

Every answer is a JSON document. An error is {"error": "…"} with a status: 400 for a question that
makes no sense, 404 and 405 for a wrong path or method, 413 for too large a body, 408 for one that
does not come, 503 when the kernel cannot be asked or too many ask, 500 for a bug of ours.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from steppe.agent.answers import Answer, Answers
from steppe.agent.denied.samples import Follower, Samples
from steppe.agent.node.audit import Audit
from steppe.agent.node.heap import settle_heap
from steppe.agent.shares import AGENT_SOCKET
from steppe.agent.unix_socket import Listening, listening
from steppe.document_limits import TooDeepError, check_json
from steppe.errors import SteppeError
from steppe.net.address import IPAddress, parse_address
from steppe.serving.http import running
from steppe.serving.limits import Limits
from steppe.state.node import TABLES

log = logging.getLogger("steppe.agent")

LIMIT = AGENT_SOCKET.body
"""Bytes of a request's body."""
READ_SECONDS = 10.0
"""How long a client may take to send its body."""
SHUTDOWN_SECONDS = 5.0
"""How long requests under way are waited for at the end."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadQuestionError(SteppeError):
    """The question makes no sense; the message says what is expected."""


class _Addresses(msgspec.Struct, frozen=True):
    """The body of POST /v1/tables."""

    addresses: list[str]


class AgentServer:
    """Answers questions about one node. Invariant: a GET changes nothing."""

    def __init__(
        self,
        path: Path,
        answers: Answers,
        audit: Audit,
        samples: Samples,
        limits: Limits = AGENT_SOCKET,
        *,
        bgp: Callable[[], Awaitable[Answer]] | None = None,
    ) -> None:
        self._bgp_answer = bgp
        self._path = path
        self._limits = limits
        self._answers = answers
        self._audit = audit
        self._samples = samples
        self._followers: set[Follower] = set()

    async def run(self) -> None:
        """Answer until cancelled, or until the socket is gone (SocketError)."""
        async with self.serving() as made:
            await made.until_gone()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Listening]:
        """Answers while the context lasts; at the end those who follow are left."""
        stopping = asyncio.Event()
        application = self._application(stopping)
        body = msgspec.json.encode({"error": f"{self._limits.connections} others ask; try again"})
        async with running(
            application,
            self._limits,
            refusal=_FULL % (len(body), body),
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
        ) as listener:
            try:
                with listening(self._path) as made:
                    listener.open(made.socket)
                    try:
                        yield made
                    finally:
                        listener.stop()
            finally:
                stopping.set()
                for follower in self._followers:
                    follower.tell(None)

    def _application(self, stopping: asyncio.Event) -> web.Application:
        app = web.Application(client_max_size=LIMIT, middlewares=[_errors_as_json])
        app.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/show/{table}", self._show),
                web.get("/v1/tables", self._tables),
                web.post("/v1/tables", self._many_tables),
                web.get("/v1/audit", self._look),
                web.post("/v1/audit", self._repair),
                web.get("/v1/bgp", self._bgp),
                web.get("/v1/denied", partial(self._denied, stopping)),
            ]
        )
        return app

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._answers.status())

    async def _bgp(self, _: web.Request) -> web.Response:
        if self._bgp_answer is None:
            return _error(404, "this agent says nothing of BGP")
        return _json(await self._bgp_answer())

    async def _show(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        if table not in (*TABLES, "all"):
            return _error(404, f"no table {table!r}: there are {', '.join(TABLES)}, and all")
        return _json(await self._answers.show(table, request.query.get("cause", "")))

    async def _tables(self, request: web.Request) -> web.Response:
        return _json(await self._answers.tables(_parsed(request.query.getall("address", []))))

    async def _many_tables(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
        except TimeoutError:
            return _error(408, f"no whole request came in {READ_SECONDS:.0f} s")
        try:
            check_json(body)
            asked = msgspec.json.decode(body, type=_Addresses)
        except (msgspec.MsgspecError, TooDeepError) as error:
            raise BadQuestionError(f"the body cannot be read: {error}") from error
        return _json(await self._answers.tables(_parsed(asked.addresses)))

    async def _look(self, _: web.Request) -> web.Response:
        return await self._audited(repair=False)

    async def _repair(self, _: web.Request) -> web.Response:
        return await self._audited(repair=True)

    async def _audited(self, *, repair: bool) -> web.Response:
        try:
            return _json(await self._audit.look(repair=repair))
        finally:
            settle_heap(grown=False)  # the whole kernel was read, and is forgotten again

    async def _denied(self, stopping: asyncio.Event, request: web.Request) -> web.StreamResponse:
        follow = request.query.get("follow", "false")
        if follow not in ("true", "false"):
            raise BadQuestionError(f"follow is true or false, not {follow!r}")
        if follow == "false":
            return _json(await self._answers.denied())
        with self._samples.following() as follower, self._known(follower):
            response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
            await response.prepare(request)
            while not stopping.is_set():
                found = await follower.next()
                # An empty line in silence: only who writes finds that the client has gone.
                line = msgspec.json.encode(found) if found is not None else b""
                await response.write(line + b"\n")
            return response

    @contextlib.contextmanager
    def _known(self, follower: Follower) -> Iterator[None]:
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON with a status; a bug of ours has a traceback in the log."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, error.text or error.reason)
    except BadQuestionError as error:
        return _error(400, str(error))
    except ConnectionError:
        raise  # the client has gone, and wants no answer
    except (SteppeError, OSError) as error:
        return _error(503, str(error))
    except Exception:
        log.exception("a bug of ours, in answering %s", request.path)
        return _error(500, "the agent could not answer: a bug in the agent, see its log")


def _parsed(texts: list[str]) -> frozenset[IPAddress]:
    try:
        return frozenset(map(parse_address, texts))
    except ValueError as error:
        raise BadQuestionError(f"a list of addresses is needed: {error}") from error


def _json(answer: Answer | dict[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    return _json({"error": message}, status)

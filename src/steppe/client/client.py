"""One connection pool to one API server, and the verbs of its REST API.

Verbs raise `ApiError` when the server refuses and `UnreachableError` when it does not answer. The
caller has to retry, except for 429 (too many requests): there the client itself retries.
"""

import asyncio
import contextlib
import datetime as dt
import socket
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from steppe.client.config import Config, TokenSource
from steppe.client.errors import ApiError, UnreachableError, api_error
from steppe.client.pages import PAGE, RAW, Page, PageDecoder, decoded
from steppe.client.resources import Resource
from steppe.client.transport import keepalive, transport_errors
from steppe.client.versions import newest

__all__ = ["ApiError", "Client", "UnreachableError"]

T = TypeVar("T")
Json = dict[str, Any]
JsonPatch = list[dict[str, Any]]  # RFC 6902

REQUEST_SECONDS = 30.0
GOODBYE_SECONDS = 0.5
MAX_THROTTLED_TRIES = 5

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
}


class Client:
    """An API server; use as an async context manager."""

    def __init__(self, config: Config, user_agent: str = "steppe") -> None:
        self.config = config
        self._user_agent = user_agent
        self._token = TokenSource(config)
        self._session: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        tls = self.config.ssl_context()
        connector = aiohttp.TCPConnector(
            ssl=True if tls is None else tls,
            limit=0,  # each watch holds a connection for minutes
            socket_factory=self._open_socket,
        )
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            await self._goodbyes()

    def _open_socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        sock = socket.socket(family, kind, protocol)
        keepalive(sock)
        self._sockets.add(sock)
        return sock

    async def _goodbyes(self) -> None:
        """Wait for the TLS shutdown of cancelled requests, which goes on in the background."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while any(sock.fileno() >= 0 for sock in self._sockets):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

    async def get(
        self, resource: Resource, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Json:
        """An object, in the newest version that the server has."""
        return await newest(
            resource,
            lambda version: self._json("GET", version.path(namespace, name, subresource)),
        )

    async def get_path(self, path: str) -> Json:
        """Any JSON document of the server, such as a discovery document."""
        return await self._json("GET", path)

    async def get_bytes(self, path: str, query: dict[str, str]) -> bytes:
        """What the server has under this path and is no JSON, such as a log."""
        return (await self._request("GET", path, query=query))[1]

    async def server_time(self) -> dt.datetime:
        """The API server's clock, in whole seconds: the Date of an answer (RFC 9110, 6.6.1)."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=10)
        async with self._response("GET", "/version", {}, timeout=timeout) as response:
            try:
                return parsedate_to_datetime(response.headers["Date"])
            except (KeyError, ValueError) as error:
                raise UnreachableError("GET /version: an answer without a Date") from error

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects, and the resourceVersion from which a watch may continue."""
        found: list[dict[str, Any]] = []
        version = ""
        async for page in self.pages(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        ):
            found.extend(msgspec.json.decode(item) for item in page.items or ())
            version = page.metadata.resource_version
        return found, version

    async def pages(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Page[msgspec.Raw]]:
        """The list in pages; ApiError 410 if the server has expired the list between two pages."""
        query = selectors(label_selector, field_selector)
        path = resource.path(namespace)
        async for page in self.pages_of(RAW, path, query):
            yield page

    async def pages_of(
        self, decoder: PageDecoder[T], path: str, query: dict[str, str]
    ) -> AsyncIterator[Page[T] | Page[msgspec.Raw]]:
        """Like `pages`, with the objects decoded to this type."""
        query = query | {"limit": str(PAGE)}
        while True:
            page = decoder.decode(*await self._request("GET", path, query=query))
            yield page
            if not page.metadata.continue_:
                return
            query["continue"] = page.metadata.continue_

    async def create(
        self,
        resource: Resource,
        body: Json,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Create an object, or (with `subresource`) POST to one, such as a pod's binding.

        `dry_run`: the server only says whether it would.
        """
        owner = (name or body["metadata"]["name"]) if subresource else ""
        path = resource.path(namespace, owner, subresource)
        return await self._json("POST", path, body, query={"dryRun": "All"} if dry_run else {})

    async def update(
        self,
        resource: Resource,
        body: Json,
        namespace: str = "",
        *,
        subresource: str = "",
    ) -> Json:
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        return await self._json("PUT", path, body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Json | JsonPatch,
        namespace: str = "",
        *,
        subresource: str = "",
        kind: str = "merge",
    ) -> Json:
        """Change an object; `kind` is merge, json, strategic or apply (which forces conflicts)."""
        return await self._json(
            "PATCH",
            resource.path(namespace, name, subresource),
            patch,
            query={"force": "true"} if kind == "apply" else {},
            content_type=_PATCH_TYPES[kind],
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_period: int | None = None,
        uid: str | None = None,
        propagation: str = "",
    ) -> Json:
        """Begin an object's deletion; returns the object, or a Status if it is deleted already."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if propagation:
            options["propagationPolicy"] = propagation
        return await self._json("DELETE", resource.path(namespace, name), options)

    async def lines(
        self, path: str, query: dict[str, str], *, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """The lines of an endless response, after one empty line when the server has accepted it.

        UnreachableError after `silence` seconds without a byte.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        what = f"watch {path}"
        async with self._response("GET", path, query, timeout=timeout) as response:
            if response.status >= 400:
                raise await _refusal(response, what)
            try:
                yield b""
                parts: list[bytes] = []
                with transport_errors(what):
                    async for chunk in response.content.iter_any():
                        *ended, rest = chunk.split(b"\n")
                        for line in ended:
                            parts.append(line)
                            if whole := b"".join(parts).strip():
                                yield whole
                            parts.clear()
                        parts.append(rest)
            finally:
                _abort(response)

    async def _json(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        if method in ("POST", "PUT", "PATCH"):
            query = {"fieldManager": self._user_agent} | (query or {})
        what, answer = await self._request(
            method, path, query=query or {}, body=body, content_type=content_type
        )
        document: Json = decoded(answer, Json, what)
        return document

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str],
        body: object = None,
        content_type: str = "application/json",
    ) -> tuple[str, bytes]:
        what = f"{method} {path}"
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=10)
        data = None if body is None else msgspec.json.encode(body)
        tries_left = MAX_THROTTLED_TRIES
        while True:
            tries_left -= 1
            async with self._response(
                method, path, query, data=data, content_type=content_type, timeout=timeout
            ) as response:
                with transport_errors(what):
                    if response.status < 400:
                        return what, await response.read()
                    error = await _refusal(response, what)
            if error.status != 429 or not tries_left:
                raise error
            await asyncio.sleep(min(max(error.retry_after, 1), 10))

    @contextlib.asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - handed to aiohttp, which does the waiting
        data: bytes | None = None,
        content_type: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        what = f"{method} {path}"
        session, headers = self._opened(what)
        if data is not None:
            headers["Content-Type"] = content_type
        with transport_errors(what):
            request = session.request(
                method,
                self.config.server + path,
                params=query,
                data=data,
                headers=headers,
                timeout=timeout,
                server_hostname=self.config.server_name or None,
                allow_redirects=False,  # a redirect would carry the token elsewhere
            )
            response = await request
        async with response:
            yield response

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket of the server, such as a pod's `exec`; one of the protocols is spoken."""
        what = f"GET {path}"
        session, headers = self._opened(what)
        headers["Accept"] = "*/*"  # the API server answers 406 to anything narrower
        with transport_errors(what):
            opening = session.ws_connect(
                self.config.server + path,
                params=query,
                protocols=protocols,
                headers=headers,
                server_hostname=self.config.server_name or None,
            )
            try:
                opened = await opening
            except aiohttp.WSServerHandshakeError as error:
                # aiohttp does not read the body, which would say more.
                raise api_error(error.status, b"", what=what) from error
            async with opened:
                yield opened

    def _opened(self, what: str) -> tuple[aiohttp.ClientSession, dict[str, str]]:
        """The session, and a request's own headers."""
        if self._session is None:
            raise UnreachableError(f"{what}: the client is not open")
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if token := self._token.current():
            headers["Authorization"] = f"Bearer {token}"
        return self._session, headers


def selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    """The query parameters for the selectors that are not empty."""
    both = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in both.items() if value}


def _abort(response: aiohttp.ClientResponse) -> None:
    """Close an endless response at once: a TLS shutdown would wait for its end."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _refusal(response: aiohttp.ClientResponse, what: str) -> ApiError:
    after = response.headers.get("Retry-After", "")
    return api_error(
        response.status,
        await response.read(),
        what=what,
        retry_after=float(after) if after.isdigit() else 0,
    )

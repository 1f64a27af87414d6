"""From an HTTP request to an answer: who asks, what for, which handler, and how refusals look.

Handlers are plain functions of the call and run to the end without awaiting, so that every
read-check-write of the API is atomic. Only bodies and watches are awaited here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from steppe_lab.apiserver import documents, reviews, subresources
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.auth import PUBLIC_PATHS, bearer_token
from steppe_lab.apiserver.database import DatabaseError
from steppe_lab.apiserver.negotiation import BODY_LIMIT, JSON, accepted_form
from steppe_lab.apiserver.routing import Target, target
from steppe_lab.apiserver.status import (
    StatusError,
    bad_request,
    method_not_allowed,
    page_not_found,
    too_large,
    unauthorized,
)
from steppe_lab.apiserver.verbs import delete, patch, read, watch, write

_log = logging.getLogger(__name__)

Handler = Callable[[Api, Call], Reply]

_OBJECT_HANDLERS: Mapping[str, Handler] = {
    "GET": read.get,
    "PUT": write.update,
    "PATCH": patch.patch,
    "DELETE": delete.delete,
}
_COLLECTION_HANDLERS: Mapping[str, Handler] = {
    "GET": read.list_,
    "POST": write.create,
    "DELETE": delete.delete_collection,
}


class App:
    """The HTTP side of the API.

    Invariant: a handler runs to its end without awaiting, so that every read, check and write of
    the API is atomic.
    """

    def __init__(self, api: Api, tokens: Mapping[str, str], server: str) -> None:
        self._api = api
        self._tokens = tokens
        self._documents = documents.Documents(api.registry, server)
        self.closing = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; no fault of a client ends the connection."""
        try:
            return await self._answer(request)
        except StatusError as fault:
            return _failure(fault)
        except DatabaseError as error:
            _log.error("%s %s: %s", request.method, request.path, error)
            return _failure(StatusError(500, "InternalError", str(error)))
        except RecursionError:
            # Handlers store last of all, so nothing is half done.
            return _failure(bad_request("the body is nested too deeply"))
        except (web.HTTPException, asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - the task boundary: a bug ends one request only
            _log.exception("%s %s", request.method, request.path_qs)
            return _failure(
                StatusError(500, "InternalError", f"Internal error occurred: {error!r}")
            )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        user = self._user(request)
        path = tuple(part for part in request.path.split("/") if part)
        document = self._documents.find(path, request)
        if document is not None:
            return _response(document)
        body = await _body(request)
        content_type = request.headers.get("Content-Type", "")
        review = reviews.answer(path, request.method, body, content_type, user)
        if review is not None:
            return _response(review)
        found = target(path, self._api.registry)
        if found is None:
            raise page_not_found()
        call = Call(
            method=request.method,
            target=found,
            query=request.query,
            form=accepted_form(request.headers.get("Accept", "")),
            user=user,
            agent=request.headers.get("User-Agent", ""),
            content_type=content_type,
            body=body,
        )
        if _is_watch(call):
            return await self._watch(request, call)
        return _response(_handler(found, call.method)(self._api, call))

    def _user(self, request: web.BaseRequest) -> str:
        token = bearer_token(request.headers.get("Authorization", ""))
        user = self._tokens.get(token) if token else None
        if user is not None:
            return user
        if token is None and "/" + request.path.split("/")[1] in PUBLIC_PATHS:
            return "system:anonymous"
        raise unauthorized()

    async def _watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        events = watch.events(self._api, call, self.closing)
        # Refusals come before the first chunk, while they can still be a status code.
        first = await anext(events, b"")
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            if first:
                await response.write(first)
            async for chunk in events:
                await response.write(chunk)
        except ConnectionError:
            # The watcher left; that is how most watches end.
            return response
        finally:
            await events.aclose()
        await response.write_eof()
        return response


def _is_watch(call: Call) -> bool:
    target = call.target
    return call.method == "GET" and not target.subresource and (target.watch or call.flag("watch"))


def _handler(found: Target, method: str) -> Handler:
    if found.subresource:
        return subresources.handler(found, method)
    handlers = _OBJECT_HANDLERS if found.name else _COLLECTION_HANDLERS
    handler = handlers.get(method)
    if handler is None:
        raise method_not_allowed(found.kind, method.lower())
    return handler


async def _body(request: web.BaseRequest) -> bytes:
    """The whole body, within the limit."""
    if not request.can_read_body:
        return b""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise too_large(BODY_LIMIT)
        chunks.append(chunk)
    return b"".join(chunks)


def _response(reply: Reply) -> web.Response:
    response = web.Response(
        body=reply.body, status=reply.code, headers={"Content-Type": reply.media_type}
    )
    for warning in reply.warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _failure(fault: StatusError) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(fault.status()),
        status=fault.code,
        headers={"Content-Type": JSON},
    )

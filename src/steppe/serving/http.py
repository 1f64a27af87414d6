"""A small HTTP server as a context: whoever leaves it leaves no port open."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from steppe.serving.limits import Limits
from steppe.serving.listener import Listener, accepting

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def running(
    app: web.Application, limits: Limits, *, refusal: bytes = b"", **more: Any
) -> AsyncIterator[Listener]:
    """Runs the application on the sockets that are then given to the listener.

    A connection has one request: none is kept open that nobody uses, and nothing can be sent ahead.
    `more` goes to aiohttp's runner.
    """
    listeners: list[Listener] = []

    @web.middleware
    async def once(request: web.Request, handler: Handler) -> web.StreamResponse:
        with listeners[0].answering(request.transport):
            try:
                response = await handler(request)
            except web.HTTPException as refused:
                refused.force_close()
                raise
            if not response.prepared:
                response.force_close()
            return response

    app.middlewares.insert(0, once)
    runner = web.AppRunner(app, access_log=None, lingering_time=1.0, **more)
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("aiohttp has made no server")
    async with accepting(limits, server, refusal=refusal) as listener:
        listeners.append(listener)
        try:
            yield listener
        finally:
            listener.stop()
            await runner.cleanup()

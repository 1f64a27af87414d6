"""A small HTTP server as a context: whoever leaves it leaves no port open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[web.AppRunner]:
    """Runs the application, on the sites that are then given to it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()

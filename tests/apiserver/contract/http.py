"""JSON over HTTP to one API server, as a client library would speak it."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from steppe.client.config import Config, TokenSource, load_config

Json = dict[str, Any]
WATCH_SECONDS = 10


def fresh(name: str) -> str:
    """A name that no earlier run has used on the same server."""
    return f"contract-{name}-{secrets.token_hex(3)}"


class Http:
    """A session that speaks JSON to one server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.watches: list[AsyncGenerator[Json, None]] = []

    async def close(self) -> None:
        for watch in self.watches:
            await watch.aclose()
        await self.session.close()

    async def __call__(
        self, method: str, path: str, body: Any = None, expect: int = 200, **extra: Any
    ) -> Json:
        async with self.session.request(method, self.url + path, json=body, **extra) as response:
            answer: Json = await response.json()
            assert response.status == expect, answer
            return answer

    async def create(self, path: str, body: Json) -> Json:
        return await self("POST", path, body, 201)

    def events(self, path: str, **query: str) -> AsyncGenerator[Json, None]:
        events = self._events(path, query)
        self.watches.append(events)
        return events

    async def _events(self, path: str, query: dict[str, str]) -> AsyncGenerator[Json, None]:
        params = {"watch": "1", "timeoutSeconds": "60"} | query
        async with self.session.get(self.url + path, params=params) as response:
            assert response.status == 200, await response.text()
            try:
                async for line in response.content:
                    yield json.loads(line)
            finally:
                # A watch is left in the middle: nobody waits for the farewell of TLS.
                connection = response.connection
                if connection is not None and connection.transport is not None:
                    connection.transport.abort()


async def take(events: AsyncIterator[Json], count: int) -> list[Json]:
    """So many events, within a time."""
    async with asyncio.timeout(WATCH_SECONDS):
        return [await anext(events) for _ in range(count)]


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path, *, anonymous: bool = False) -> AsyncIterator[Http]:
    """A session with the credentials of a kubeconfig, or with none."""
    config = load_config(str(kubeconfig))
    if anonymous:
        config = Config(config.server, config.ca_file, config.ca_data, insecure=config.insecure)
    token = TokenSource(config).current()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=config.ssl_context() or True, limit=0),
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    http = Http(config.server, session)
    try:
        yield http
    finally:
        await http.close()


def config_map(name: str, **data: str) -> Json:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str, node: str = "") -> Json:
    """A pod that no scheduler takes."""
    spec: Json = {
        "containers": [{"name": "c", "image": "pause"}],
        "schedulerName": "nobody",
    }
    return {
        "metadata": {"name": name},
        "spec": spec | ({"nodeName": node} if node else {}),
    }


def service(name: str, **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]} | spec}

"""A scripted API server: what a test puts in is what a client gets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from steppe.client.client import Client
from steppe.client.config import Config


def status(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


class FakeApi:
    """Objects by path, with a history that watches read from; faults are switched on by tests."""

    def __init__(self) -> None:
        self.version = 10
        self.objects: dict[str, dict[str, dict[str, Any]]] = {}
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []
        """Version, path (empty for all), type and object."""
        self.requests: list[web.Request] = []
        self.lists: list[str] = []
        self.watches: list[dict[str, str]] = []
        self.refuse: Callable[[web.Request], web.Response | None] = lambda _: None
        self.exec: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        """Answers `pods/exec`."""
        self.forgotten = 0
        """Versions up to here are gone (410)."""
        self.url = ""
        self._changed = asyncio.Condition()
        self._drop = asyncio.Event()

    async def put(self, path: str, name: str, **fields: Any) -> dict[str, Any]:
        self.version += 1
        before = self.objects.setdefault(path, {}).get(name)
        body = {
            "metadata": {
                "name": name,
                "uid": before["metadata"]["uid"] if before else f"uid-{self.version}",
                "resourceVersion": str(self.version),
            }
            | fields.pop("metadata", {}),
            **fields,
        }
        self.objects[path][name] = body
        await self._tell(path, "MODIFIED" if before else "ADDED", body)
        return body

    async def remove(self, path: str, name: str) -> None:
        self.version += 1
        body = self.objects[path].pop(name)
        body["metadata"]["resourceVersion"] = str(self.version)
        await self._tell(path, "DELETED", body)

    async def bookmark(self) -> None:
        self.version += 1
        await self._tell("", "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    async def error(self, code: int, reason: str) -> None:
        await self._tell("", "ERROR", status(code, reason))

    async def drop_watches(self) -> None:
        """Cut every watch off, as a dying server does."""
        self._drop.set()
        async with self._changed:
            self._changed.notify_all()

    async def _tell(self, path: str, type_: str, body: dict[str, Any]) -> None:
        async with self._changed:
            self.history.append((self.version, path, type_, json.loads(json.dumps(body))))
            self._changed.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if (refusal := self.refuse(request)) is not None:
            return refusal
        if self.exec is not None and request.path.endswith("/exec"):
            return await self.exec(request)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        if request.method == "GET":
            return self._list(request)
        return await self._write(request)

    def _list(self, request: web.Request) -> web.Response:
        folder, _, name = request.path.rpartition("/")
        if name in self.objects.get(folder, {}):
            return web.json_response(self.objects[folder][name])
        if request.path not in self.objects:
            return web.json_response(status(404, "NotFound", "not there"), status=404)
        self.lists.append(request.path)
        items = list(self.objects[request.path].values())
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        meta = {"resourceVersion": str(self.version)}
        if start + limit < len(items):
            meta["continue"] = str(start + limit)
        return web.json_response({"metadata": meta, "items": items[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches.append(dict(request.query))
        seen = int(request.query["resourceVersion"])
        if seen < self.forgotten:
            return web.json_response(status(410, "Expired", "too old"), status=410)
        self._drop.clear()
        response = web.StreamResponse()
        await response.prepare(request)
        position = next(
            (i for i, (version, *_) in enumerate(self.history) if version > seen),
            len(self.history),
        )
        while not self._drop.is_set():
            for _, path, type_, body in self.history[position:]:
                if path not in ("", request.path):
                    continue
                line = json.dumps({"type": type_, "object": body}) + "\n"
                await response.write(line.encode())
            position = len(self.history)
            async with self._changed:
                if position == len(self.history) and not self._drop.is_set():
                    await self._changed.wait()
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _write(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.method == "POST":
            name = body["metadata"]["name"]
            if name in self.objects.get(request.path, {}):
                return web.json_response(status(409, "AlreadyExists"), status=409)
            return web.json_response(await self.put(request.path, name, **_fields(body)))
        folder, _, name = request.path.rpartition("/")
        held = self.objects.get(folder, {}).get(name)
        if held is None:
            return web.json_response(status(404, "NotFound"), status=404)
        if request.method == "DELETE":
            await self.remove(folder, name)
            return web.json_response(status(200, ""))
        wanted = (body.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != held["metadata"]["resourceVersion"]:
            return web.json_response(status(409, "Conflict", "modified"), status=409)
        fields = _fields(body)
        if request.method == "PATCH":
            fields = {k: {**held.get(k, {}), **v} if isinstance(v, dict) else v
                      for k, v in fields.items()}  # fmt: skip
            fields = _fields(held) | fields
            annotations = (body.get("metadata") or {}).get("annotations")
            if annotations:
                fields["metadata"] = {"annotations": annotations}
        return web.json_response(await self.put(folder, name, **fields))


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "metadata"}


@contextlib.asynccontextmanager
async def fake_api() -> AsyncIterator[tuple[FakeApi, Client]]:
    api = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Client(Config(server=api.url, token="s3cr3t")) as client:
            yield api, client
    finally:
        await api.drop_watches()
        await runner.cleanup()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for a condition; what it would have been is the caller's assertion."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)

"""Kubernetes Events, which users see in `kubectl describe`.

`EventRecorder.event` never blocks and never raises. An equal Event increases the count of the
existing one; an Event that cannot be written is dropped, and the drops are counted.
"""

import asyncio
import datetime as dt
import logging
import uuid
from collections import OrderedDict
from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.resources import EVENTS, Resource
from steppe.errors import SteppeError
from steppe.printable import printable

log = logging.getLogger(__name__)

MAX_WAITING = 1000
MAX_REMEMBERED = 4096  # the size of client-go's cache (its EventCorrelator)
MAX_MESSAGE = 1024  # "note: maximal length is 1kB" (events.k8s.io/v1)
# Each distinct message about an object is written at most once in this many seconds.
REPEAT_SECONDS = 5.0


class ObjectReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The object that an Event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


def reference(resource: Resource, name: str, namespace: str = "", uid: str = "") -> ObjectReference:
    return ObjectReference(resource.api_version, resource.kind, name, namespace, uid)


class _Said(msgspec.Struct, frozen=True):
    about: ObjectReference
    type: str
    reason: str
    message: str

    @property
    def namespace(self) -> str:
        # Events about objects without a namespace are in "default", where kubectl looks for them.
        return self.about.namespace or "default"


class _Written:
    """The Event object in the API for a message, and its count."""

    def __init__(self) -> None:
        self.name = ""
        self.count = 0
        self.first = ""


class EventRecorder:
    """Writes Events as one component.

    Invariant: equal messages that wait are stored once, with their count. At most MAX_WAITING
    messages wait, and at most MAX_REMEMBERED written ones are remembered.
    """

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self.dropped = 0
        self._client = client
        self._component = component
        self._host = host
        self._waiting: dict[_Said, int] = {}
        self._written: OrderedDict[_Said, _Written] = OrderedDict()
        self._wake = asyncio.Event()

    def event(self, about: ObjectReference, type_: str, reason: str, message: str) -> None:
        """Queue an Event about an object; `type_` is Normal or Warning.

        kubectl prints a message as it is (CVE-2021-25743), so nothing in it may steer a terminal.
        """
        said = _Said(about, type_, reason, printable(message)[:MAX_MESSAGE])
        if said not in self._waiting and len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting[said] = self._waiting.get(said, 0) + 1
        self._wake.set()

    async def run(self) -> None:
        """Write queued Events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            repeated = await self.flush()
            if repeated:
                await asyncio.sleep(REPEAT_SECONDS)

    async def flush(self) -> bool:
        """Write all queued Events; returns whether any of them repeats an earlier one."""
        waiting, self._waiting = self._waiting, {}
        repeated = False
        for said, times in waiting.items():
            repeated |= said in self._written
            try:
                await self._write(said, times)
            except SteppeError as error:
                if isinstance(error, ApiError) and error.namespace_terminating:
                    continue
                self.dropped += times
                log.warning("event %s on %s dropped: %s", said.reason, said.about.name, error)
        return repeated

    async def _write(self, said: _Said, times: int) -> None:
        written = self._written.setdefault(said, _Written())
        self._written.move_to_end(said)
        if len(self._written) > MAX_REMEMBERED:
            self._written.popitem(last=False)
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        written.count += times
        if written.name:
            patch = {"count": written.count, "lastTimestamp": now, "message": said.message}
            try:
                await self._client.patch(EVENTS, written.name, patch, said.namespace)
            except ApiError as error:
                if not error.not_found:  # Events expire after an hour
                    raise
                written.count = times
            else:
                return
        written.name = f"{said.about.name}.{uuid.uuid4().hex[:16]}"
        written.first = now
        await self._client.create(EVENTS, self._body(said, written, now), said.namespace)

    def _body(self, said: _Said, written: _Written, now: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": written.name, "namespace": said.namespace},
            "involvedObject": msgspec.to_builtins(said.about),
            "reason": said.reason,
            "message": said.message,
            "type": said.type,
            "count": written.count,
            "firstTimestamp": written.first,
            "lastTimestamp": now,
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "reportingComponent": self._component,
            "reportingInstance": self._host or self._component,
        }

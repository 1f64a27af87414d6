"""Follows a list on the server: list once, then watch, until cancelled.

Decides when to resume a watch, when to list again and how long to wait in between. Consumers store
the events: in a `mirror.Mirror` if they only read, in a `store.Store` if they also write
(controllers).

    list ──Replaced──▶ watch ──Upserted/Deleted──▶ … ──connection lost──▶ watch on from there
      ▲                                            └────── 410 Gone ──┐
      └───────────────────────────────────────────────────────────────┘

A list asks for the newest version of the kind that the server has. While that is an older one,
every watch that ends is followed by a new list: a newer version is used soon after it is served.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

import msgspec

from steppe.client.client import Client, selectors
from steppe.client.errors import ApiError, api_error
from steppe.client.pages import PageDecoder
from steppe.client.resources import Resource
from steppe.client.versions import newest
from steppe.errors import SteppeError

T = TypeVar("T")
log = logging.getLogger(__name__)

# client-go asks for 5 to 10 minutes; a shorter time detects a hung server sooner.
WATCH_SECONDS = 240
# The server ends a watch after timeoutSeconds; after a longer silence the connection is dead.
SILENCE_MARGIN_SECONDS = 15
# Pause, so that a watch that always ends at once does not become a busy loop.
SHORT_WATCH_SECONDS = 1.0
# The longest pause between requests for a kind that the server does not have.
ABSENT_SECONDS = 60.0
# If list and watch have lasted longer than this before they fail, the back-off starts anew.
LONG_WATCH_SECONDS = 10.0


class Unreadable(msgspec.Struct, frozen=True):
    """An object that cannot be decoded; `deleted`: the event reports its deletion."""

    namespace: str
    name: str
    error: str
    deleted: bool = False


class Replaced(msgspec.Struct, Generic[T], frozen=True):
    """The whole list: at the start, and after every relist.

    The objects in `unreadable` are in the list as well: they still exist.
    """

    items: tuple[T, ...]
    unreadable: tuple[Unreadable, ...] = ()


class Upserted(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Deleted(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Refused(msgspec.Struct, frozen=True):
    """The server refuses the list: 404 if it has no such kind, 403 if this client may not read it.

    Sent once until the status changes; the list is retried as after any other error.
    """

    status: int


WatchEvent = Replaced[T] | Upserted[T] | Deleted[T] | Unreadable | Refused


class WatchStatus:
    """The state of a watch, for health endpoints; times are time.monotonic() in seconds."""

    def __init__(self) -> None:
        self.synced_since: float | None = None
        """Start of the time without interruption; None while the watch is broken."""
        self.last_contact: float | None = None
        self.broken_at: float | None = None
        """When the watch, or a list, failed last."""
        self.relists = 0
        self.last_error = ""
        self.absent = False
        """Whether the server's last answer was that it has no such kind (404)."""
        self.version = ""
        """The resourceVersion of the newest event."""

    def contact(self) -> None:
        self.last_contact = time.monotonic()

    def in_sync(self) -> None:
        self.contact()
        self.last_error, self.absent = "", False
        if self.synced_since is None:
            self.synced_since = time.monotonic()

    def broken(self, error: str, *, absent: bool = False) -> None:
        self.synced_since, self.broken_at = None, time.monotonic()
        self.last_error, self.absent = error, absent


class Backoff:
    """Exponential delays with jitter: half to all of 0.1, 0.2, 0.4 … seconds, at most `cap`."""

    def __init__(self, first: float = 0.1, cap: float = 10.0) -> None:
        self._first = first
        self._cap = cap
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self) -> float:
        delay = min(self._cap, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


class _Frame(msgspec.Struct, frozen=True):
    """One line of a watch: metav1.WatchEvent."""

    type: str
    object: msgspec.Raw


async def watch(
    client: Client,
    resource: Resource,
    type_: Callable[..., T] = dict,  # type: ignore[assignment]  # a class, or a generic alias
    *,
    kept: Callable[[T], T] | None = None,
    namespace: str = "",
    label_selector: str = "",
    field_selector: str = "",
    status: WatchStatus | None = None,
    watch_seconds: int = WATCH_SECONDS,
) -> AsyncGenerator[WatchEvent[T], None]:
    """The list as one `Replaced`, then its changes; ends only by cancellation or `aclose`.

    `kept` makes of each decoded object what stays of it, page by page: so a list is never in memory
    as a whole in the form in which it was decoded.
    """
    watcher = _Watcher(
        client,
        resource,
        type_,
        kept or _unchanged,
        namespace=namespace,
        selection=selectors(label_selector, field_selector),
        status=status or WatchStatus(),
        watch_seconds=watch_seconds,
    )
    async with contextlib.aclosing(watcher.events()) as events:
        async for event in events:
            yield event
            del event  # a list may be large: free it before waiting for the next event


class _Watcher(Generic[T]):
    def __init__(
        self,
        client: Client,
        resource: Resource,
        type_: Callable[..., T],
        kept: Callable[[T], T],
        *,
        namespace: str,
        selection: dict[str, str],
        status: WatchStatus,
        watch_seconds: int,
    ) -> None:
        self._client = client
        self._resource = resource
        self._served = resource
        """The version that the server had when it was listed."""
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(type_)
        self._pages = PageDecoder(type_)
        self._kept = kept
        self._namespace = namespace
        self._selection = selection
        self._status = status
        self._watch_seconds = watch_seconds
        self._version = ""  # empty: list before watching
        self._backoff = Backoff()
        self._absent = Backoff(cap=ABSENT_SECONDS)
        self._last_refused = 0

    async def events(self) -> AsyncGenerator[WatchEvent[T], None]:
        while True:
            began = time.monotonic()
            try:
                if not self._version:
                    yield await self._list()
                async with contextlib.aclosing(self._watch_once()) as events:
                    async for event in events:
                        self._backoff.reset()
                        yield event
                        del event
                self._forget_older()
            except (SteppeError, msgspec.MsgspecError) as error:
                if time.monotonic() - began > LONG_WATCH_SECONDS:
                    self._backoff.reset()
                refused = self._refused(error)
                if refused is not None:
                    yield refused
                await self._pause(error)
            else:
                if time.monotonic() - began < SHORT_WATCH_SECONDS:
                    await asyncio.sleep(self._backoff.next())

    def _refused(self, error: Exception) -> Refused | None:
        if not isinstance(error, ApiError) or error.status not in (403, 404):
            return None
        if error.status == self._last_refused:
            return None
        self._last_refused = error.status
        return Refused(error.status)

    async def _pause(self, error: Exception) -> None:
        self._forget_older()
        if isinstance(error, ApiError):
            # After an error of the server, list again; only a lost connection may resume.
            self._version = ""
        if not self._status.last_error:
            # An expired resourceVersion is normal; it needs a new list and nothing else.
            ordinary = isinstance(error, ApiError) and error.gone
            level = logging.INFO if ordinary else logging.WARNING
            log.log(level, "watch of %s broken, trying again: %s", self._resource.plural, error)
        absent = isinstance(error, ApiError) and error.not_found
        self._status.broken(str(error), absent=absent)
        await asyncio.sleep((self._absent if absent else self._backoff).next())

    def _forget_older(self) -> None:
        """Let a new list find out whether the server has a newer version by now."""
        if self._served != self._resource:
            self._version = ""

    async def _list(self) -> Replaced[T]:
        return await newest(self._resource, self._list_version)

    async def _list_version(self, served: Resource) -> Replaced[T]:
        items: list[T] = []
        unreadable: list[Unreadable] = []
        version = ""
        path = served.path(self._namespace)
        async for page in self._client.pages_of(self._pages, path, self._selection):
            version = page.metadata.resource_version
            for item in page.items or ():
                decoded = self._decode(item) if isinstance(item, msgspec.Raw) else self._kept(item)
                if isinstance(decoded, Unreadable):
                    unreadable.append(decoded)
                else:
                    items.append(decoded)
                del item
            del page  # before the next one is read
        self._served = served
        self._version = self._status.version = version
        self._last_refused = 0
        self._absent.reset()
        self._status.relists += 1
        self._status.in_sync()
        return Replaced(tuple(items), tuple(unreadable))

    async def _watch_once(self) -> AsyncGenerator[WatchEvent[T], None]:
        seconds = self._watch_seconds + random.randrange(1 + self._watch_seconds // 4)  # noqa: S311
        query = self._selection | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        lines = self._client.lines(
            self._served.path(self._namespace), query, silence=seconds + SILENCE_MARGIN_SECONDS
        )
        async with contextlib.aclosing(lines):
            async for line in lines:
                self._status.in_sync()
                event = self._event(line) if line else None
                if event is not None:
                    yield event

    def _event(self, line: bytes) -> WatchEvent[T] | None:
        frame = msgspec.json.decode(line, type=_Frame)
        if frame.type == "ERROR":
            # "If Type is Error: *Status is recommended" (metav1.WatchEvent)
            raise api_error(0, bytes(frame.object), what=f"watch of {self._resource.plural}")
        version = msgspec.json.decode(frame.object, type=_Object).metadata.resource_version
        self._version = self._status.version = version or self._version
        if frame.type == "BOOKMARK":
            return None
        decoded = self._decode(frame.object)
        gone = frame.type == "DELETED"
        if isinstance(decoded, Unreadable):
            return msgspec.structs.replace(decoded, deleted=gone)
        return Deleted(decoded) if gone else Upserted(decoded)

    def _decode(self, raw: msgspec.Raw) -> T | Unreadable:
        try:
            return self._kept(self._decoder.decode(raw))
        except msgspec.MsgspecError as error:
            return _unreadable(raw, error)


def _unchanged(decoded: T) -> T:
    return decoded


def _unreadable(raw: msgspec.Raw, error: Exception) -> Unreadable:
    try:
        meta = msgspec.json.decode(raw, type=_Object).metadata
    except msgspec.MsgspecError:
        meta = _Meta()
    return Unreadable(meta.namespace, meta.name, str(error))

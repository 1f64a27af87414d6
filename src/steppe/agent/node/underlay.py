"""The node's underlay (its link to the other nodes) as a watched value; the last good one is kept.

    kernel's notifications ─┐
    full passes, node list ─┴─▶ look (on a thread) ─▶ value ─▶ followers

If the link loses its addresses, or the default route is deleted, that is a Problem and changes
nothing: the node's tables keep the known link. An agent that starts without an underlay uses the
one that an earlier agent has published on the Node, until it finds one.

If the link loses some of its addresses, the known ones stay here, and that is a Problem too.
Without this, a node that loses its IPv4 address would treat its peers as nodes of another subnet,
and send IPv6 packets to them by a tunnel that needs the lost address.

Invariant: `value` is the last underlay read from the kernel, or the published one, or the default
that compiling uses for nodes that have published none; `known` is whether it was read from the
kernel. An underlay with an address of the Node is never replaced by one without, and an address of
the Node on the link stays in `value` for as long as the Node has it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from steppe.agent.log import line
from steppe.errors import SteppeError
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import DEFAULT_UNDERLAY, Underlay
from steppe.net.address import IPAddress

log = logging.getLogger("steppe.agent")

GATHER_SECONDS = 0.1
"""Seconds for which notifications are collected before the kernel is read: they come in bursts."""
AGAIN_SECONDS = 5.0
"""Seconds until the next reading while there is a Problem: not every cure causes an event."""


class Source(Protocol):
    """Reads the underlay, and reports that it may have changed."""

    def read(self, addresses: Sequence[IPAddress]) -> Underlay:
        """The current underlay; SteppeError if there is none. It may block."""

    def events(self) -> AsyncIterator[Sequence[str]]:
        """Changes in the kernel that may concern the underlay, as they happen."""


class UnderlayView:
    """One node's underlay."""

    def __init__(
        self, node: str, source: Source, addresses: Callable[[], Sequence[IPAddress]]
    ) -> None:
        """`addresses`: the node's addresses in the API."""
        self._cause = Cause(ObjectRef("Node", "", node))
        self._source = source
        self._addresses = addresses
        self._looking = asyncio.Lock()
        self.value = DEFAULT_UNDERLAY
        self.known = False
        self.problems: tuple[Problem, ...] = ()

    def published(self, underlay: Underlay | None) -> None:
        """Our own Node object has this underlay; it is used if it has an address of the node."""
        if underlay is None:
            return
        addresses = self._addresses()
        better = _holds(underlay, addresses) and not _holds(self.value, addresses)
        if better or not self.known:
            self.value, self.known = underlay, False
        else:
            self.value = _completed(self.value, underlay, addresses)

    async def look(self) -> Underlay:
        """Read the kernel now; the underlay, or the last good one with a Problem."""
        async with self._looking:
            addresses = self._addresses()
            try:
                found = await asyncio.to_thread(self._source.read, addresses)
            except (SteppeError, OSError) as error:
                self._doubt(str(error))
            else:
                self._take(found, addresses)
        return self.value

    async def follow(self, changed: Callable[[Underlay], None]) -> None:
        """Call `changed` with the underlay after each event that may have changed it."""
        events = self._source.events()
        stirred = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_stir(events, stirred))
            while True:
                changed(await self.look())
                # After a reading that failed by itself there will be no notification.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS if self.problems else None):
                        await stirred.wait()
                await asyncio.sleep(GATHER_SECONDS)
                stirred.clear()

    def _take(self, found: Underlay, addresses: Sequence[IPAddress]) -> None:
        if _holds(self.value, addresses) and not _holds(found, addresses):
            # The default route may be on another link, for example of a management network.
            known = ", ".join(map(str, addresses))
            self._doubt(f"no link holds {known}; give {self.value.link} its addresses again")
            return
        completed = _completed(found, self.value, addresses)
        if not found.up:
            self._down(msgspec.structs.replace(completed, up=True))
            return
        if completed != found:
            self._miss(completed, found)
            return
        if self.problems:
            log.info(line("underlay-found", link=found.link, mtu=found.mtu))
        elif self.known and found != self.value:
            log.info(line("underlay-changed", link=found.link, mtu=found.mtu))
        self.value, self.known, self.problems = found, True, ()

    def _down(self, known: Underlay) -> None:
        """The link is down, and with it its IPv6 addresses are gone: they are not what is wrong."""
        self.value, self.known = known, True
        why = f"{known.link} is down; `ip link set {known.link} up`"
        self._tell(f"nothing goes to the other nodes: {why}", why)

    def _miss(self, completed: Underlay, found: Underlay) -> None:
        """The link is there, but lacks some of the addresses that the node is known by."""
        lost = ", ".join(str(a) for a in completed.addresses if a not in found.addresses)
        self.value, self.known = completed, True
        why = f"{found.link} has lost {lost}; give it this address again"
        self._tell(
            f"part of the way to the other nodes is missing: {why}, "
            f"or take it out of the Node's status.addresses; the other addresses serve on",
            why,
        )

    def _doubt(self, why: str) -> None:
        held = f"{self.value.link}, MTU {self.value.mtu}"
        serves = f"the last one known ({held}) stays in force" if self.known else f"{held} is used"
        self._tell(f"the way to the other nodes is not known: {why}; {serves}", why)

    def _tell(self, message: str, why: str) -> None:
        problem = Problem(self._cause, message)
        if problem not in self.problems:
            log.warning(line("underlay-lost", error=why, link=self.value.link))
        self.problems = (problem,)


def _holds(underlay: Underlay, addresses: Iterable[IPAddress]) -> bool:
    own = {interface.ip for interface in underlay.addresses}
    return not own.isdisjoint(addresses)


def _completed(found: Underlay, known: Underlay, addresses: Iterable[IPAddress]) -> Underlay:
    """What was found, with what the same link has lost of the addresses the node is known by."""
    if found.link != known.link:
        return found
    own, held = frozenset(addresses), {interface.ip for interface in found.addresses}
    lost = {a for a in known.addresses if a.ip in own and a.ip not in held}
    if not lost:
        return found
    # In the order known: what is published shall not change.
    stay = tuple(a for a in known.addresses if a in lost or a in found.addresses)
    new = tuple(a for a in found.addresses if a not in stay)
    return msgspec.structs.replace(found, addresses=stay + new)


async def _stir(events: AsyncIterator[Sequence[str]], stirred: asyncio.Event) -> None:
    try:
        async for _ in events:
            stirred.set()
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()

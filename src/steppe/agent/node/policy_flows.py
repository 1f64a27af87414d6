"""Ends the tracked flows that a change of policies forbids, and no others.

The policy chains see only the first packet of a connection. After a flow is deleted from the
connection table, its next packet counts as a first packet, and is dropped.

An answer that was under way begins the flow anew, from the other end (plan/flows.py). So the table
is read again for as long as an answer may be under way, less and less often.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from steppe.agent.log import line
from steppe.agent.node.flows import rest
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import POLICIES
from steppe.drivers.conntrack import Conntrack
from steppe.errors import SteppeError
from steppe.net.address import IPAddress
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.plan.flows import Answer, answer_of, revived
from steppe.state.link import AddressKey
from steppe.state.node import Key
from steppe.walk.forbidden import forbidden

log = logging.getLogger("steppe.agent")

_JUDGED: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP", "ICMP")
ANSWERED_SECONDS = 30.0
"""Seconds for which an answer is waited for: nf_conntrack_udp_timeout, after which a flow without
packets ends by itself."""


class PolicyFlowEnder:
    """Ends the flows that changed keys forbid.

    Invariant: after the last change of a policy's entry, the connection table is read at least once
    more, and a flow is ended only if the entries that are desired after that reading forbid it.
    """

    def __init__(self, compiler: NodeCompiler, conntrack: Conntrack) -> None:
        self._compiler = compiler
        self._conntrack = conntrack
        self._wake = asyncio.Event()
        self._put_off = False
        self._answers: dict[Answer, float] = {}
        """The answers that may be under way, each with the time until which it may."""

    def changed(self, keys: Iterable[Key]) -> None:
        """The kernel has the desired values of these keys now."""
        if any(map(POLICIES.is_policy, keys)):
            self._wake.set()

    def in_step(self) -> None:
        """A pass has ended, as one does after policies are worked out."""
        if self._put_off and not self._compiler.policies.waiting:
            self._put_off = False
            self._wake.set()

    async def run(self) -> None:
        pause = 0.0
        while True:
            pause = await self._awoken(pause)
            self._wake.clear()
            began = time.monotonic()
            try:
                await self._look()
            except (SteppeError, OSError):
                self._wake.set()
                raise
            await asyncio.sleep(rest(time.monotonic() - began))

    async def _awoken(self, pause: float) -> float:
        """Wait for a change; not for longer than `pause` if answers may be under way.

        Returns the next pause: twice as long, or the shortest after a change.
        """
        if not self._answers:
            await self._wake.wait()
            return 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        return max(2 * pause, rest(0)) if not self._wake.is_set() else 0.0

    async def _look(self) -> None:
        flows = await asyncio.to_thread(self._conntrack.flows, _JUDGED)
        again = revived(flows, self._answers)
        await self._end(again, "an answer of a flow that was ended began it")
        now = time.monotonic()
        self._answers = {each: until for each, until in self._answers.items() if until > now}
        if self._compiler.policies.waiting:
            # Half of a change forbids what neither the policies before nor those after it do.
            self._put_off = True
            return
        # What is asked for after the reading: nothing begun since by leave of it is among them.
        state = self._compiler.state.only(POLICIES.is_policy_set)
        left = set(flows).difference(again)
        ended = await asyncio.to_thread(forbidden, left, state, self._own_addresses())
        answers = filter(None, map(answer_of, ended))
        self._answers.update(dict.fromkeys(answers, now + ANSWERED_SECONDS))
        await self._end(ended, "a policy forbids it now")

    async def _end(self, flows: tuple[Flow, ...], cause: str) -> None:
        await asyncio.to_thread(self._conntrack.end, flows)
        for flow in flows:
            log.info(line("ended", flow=flow, cause=cause))

    def _own_addresses(self) -> frozenset[IPAddress]:
        here = self._compiler.here
        if here is None:
            return frozenset()
        underlay = (interface.ip for interface in here.underlay.addresses)
        addresses = self._compiler.state.only(AddressKey.table.__eq__)
        made = (key.address.ip for key in addresses if isinstance(key, AddressKey))
        return frozenset((*here.addresses, *here.external_addresses, *underlay, *made))

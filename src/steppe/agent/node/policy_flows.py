"""Ends the tracked flows that a change of policies forbids, and no others.

The policy chains see only the first packet of a connection. After a flow is deleted from the
connection table, its next packet counts as a first packet, and is dropped.
"""

import asyncio
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
from steppe.net.packet import Protocol
from steppe.state.link import AddressKey
from steppe.state.node import Key
from steppe.walk.forbidden import forbidden

log = logging.getLogger("steppe.agent")

_JUDGED: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")


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
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            try:
                await self._look()
            except (SteppeError, OSError):
                self._wake.set()
                raise
            await asyncio.sleep(rest(time.monotonic() - began))

    async def _look(self) -> None:
        flows = await asyncio.to_thread(self._conntrack.flows, _JUDGED)
        if self._compiler.policies.waiting:
            # Half of a change forbids what neither the policies before nor those after it do.
            self._put_off = True
            return
        # What is asked for after the reading: nothing begun since by leave of it is among them.
        state = self._compiler.state.only(POLICIES.is_policy_set)
        ended = await asyncio.to_thread(forbidden, flows, state, self._own_addresses())
        await asyncio.to_thread(self._conntrack.end, ended)
        for flow in ended:
            log.info(line("ended", flow=flow, cause="a policy forbids it now"))

    def _own_addresses(self) -> frozenset[IPAddress]:
        here = self._compiler.here
        if here is None:
            return frozenset()
        underlay = (interface.ip for interface in here.underlay.addresses)
        addresses = self._compiler.state.only(AddressKey.table.__eq__)
        made = (key.address.ip for key in addresses if isinstance(key, AddressKey))
        return frozenset((*here.addresses, *here.external_addresses, *underlay, *made))

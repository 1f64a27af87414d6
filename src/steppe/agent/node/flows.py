"""Ends the tracked flows that a change of endpoints has left without one.

What changed is gathered while the table is being read, so a rolling restart costs a few readings,
not one an endpoint. At start every frontend is looked at once: an endpoint may have gone while no
agent ran.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable

from steppe.agent.log import line
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import data_plane
from steppe.drivers.conntrack import Conntrack
from steppe.errors import SteppeError
from steppe.net.flow import Flow
from steppe.plan.flows import ENDED, answering, frontend_of, frontends_within, stale_flows
from steppe.service.table import Frontend
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")


def stale_now(compiler: NodeCompiler, flows: Collection[Flow]) -> tuple[Flow, ...]:
    """Of all that are tracked, those that are answered by what is no endpoint any more.

    In a range of cluster IPs that holds for addresses that no Service has, too.
    """
    served = compiler.served(map(frontend_of, flows))
    ranges = (prefix for known in compiler.service_ranges for prefix in known.prefixes)
    return stale_flows(flows, answering(served.keys() | frontends_within(flows, ranges), served))


class FlowEnder:
    """Told of keys that have changed in the kernel; ends what they leave stale.

    Invariant: a frontend that a changed key belongs to stays in `_fronts` until a reading of the
    connection table that began later has been worked off.
    """

    def __init__(self, compiler: NodeCompiler, conntrack: Conntrack) -> None:
        self._compiler = compiler
        self._conntrack = conntrack
        self._plane = data_plane(compiler.settings)
        self._fronts: frozenset[Frontend] = frozenset()
        self._wake = asyncio.Event()

    def changed(self, keys: Iterable[Key]) -> None:
        """The kernel now holds these keys as they shall be."""
        fronts = self._plane.frontends(keys, ENDED)
        if fronts:
            self._fronts |= fronts
            self._wake.set()

    async def run(self) -> None:
        """End what has become stale, for ever; an error of the kernel's, and run again is right."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            fronts, self._fronts = self._fronts, frozenset()
            try:
                flows = await asyncio.to_thread(self._conntrack.flows, ENDED)
                met = fronts.intersection(map(frontend_of, flows))
                stale = stale_flows(flows, answering(met, self._compiler.served(met)))
                await asyncio.to_thread(self._conntrack.end, stale)
            except (SteppeError, OSError):
                # Tried again with what changes meanwhile.
                self._fronts |= fronts
                self._wake.set()
                raise
            for flow in stale:
                log.info(line("ended", flow=flow, cause="its endpoint is gone"))

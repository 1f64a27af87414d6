"""Ends the tracked flows whose backend no longer exists.

Changes are collected while the connection table is being read, so a rolling restart needs a few
readings and not one for each backend. When the agent starts, every frontend is checked once: a
backend may have been deleted while no agent ran.
"""

import asyncio
import logging
import time
from collections.abc import Collection

from steppe.agent.log import line
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import data_plane
from steppe.drivers.conntrack import Conntrack
from steppe.errors import SteppeError
from steppe.net.flow import Flow
from steppe.plan.flows import ENDED, OPENING, answering, frontend_of, frontends_within, stale_flows
from steppe.service.table import Frontend
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")

_REST = 4
_LEAST_REST_SECONDS = 0.5


def rest(took: float) -> float:
    """The seconds until the connection table is read again, however much changes meanwhile.

    A reading of `took` seconds goes through all buckets of the kernel's hash table, however few
    flows there are: 6 ms at 262,144 buckets. The first change is acted on at once; of changes that
    follow it within half a second, stale flows last until this is over.
    """
    return max(_LEAST_REST_SECONDS, _REST * took)


def stale_now(compiler: NodeCompiler, flows: Collection[Flow]) -> tuple[Flow, ...]:
    """The tracked flows whose destination is translated to something that is not a backend.

    Also flows to addresses in a range of cluster IPs that no Service has.
    """
    served = compiler.served(map(frontend_of, flows))
    ranges = (prefix for known in compiler.service_ranges for prefix in known.prefixes)
    return stale_flows(flows, answering(served.keys() | frontends_within(flows, ranges), served))


class FlowEnder:
    """Ends the flows that changed keys leave stale.

    Invariant: the frontend of a changed key stays in `_fronts` until a reading of the connection
    table that began after the change has been processed. After a change of a frontend of OPENING
    there is such a reading.
    """

    def __init__(self, compiler: NodeCompiler, conntrack: Conntrack) -> None:
        self._compiler = compiler
        self._conntrack = conntrack
        self._plane = data_plane(compiler.settings)
        self._fronts: frozenset[Frontend] = frozenset()
        self._wake = asyncio.Event()

    def changed(self, keys: Collection[Key]) -> None:
        """The kernel has the desired values of these keys now."""
        fronts = self._plane.frontends(keys, ENDED)
        self._fronts |= fronts
        # Whether there is one is enough; which they are is told by the few flows there are.
        if fronts or any(self._plane.frontends((key,), OPENING) for key in keys):
            self._wake.set()

    async def run(self) -> None:
        """End stale flows until cancelled; after a KernelError it can be run again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            fronts, self._fronts = self._fronts, frozenset()
            began = time.monotonic()
            try:
                flows = await asyncio.to_thread(self._conntrack.flows, ENDED, OPENING)
                stale = self._stale(fronts, flows)
                await asyncio.to_thread(self._conntrack.end, stale)
            except (SteppeError, OSError):
                # They are tried again, together with later changes.
                self._fronts |= fronts
                self._wake.set()
                raise
            for flow in stale:
                log.info(line("ended", flow=flow, cause="its endpoint is gone, or it had none"))
            took = time.monotonic() - began
            await asyncio.sleep(rest(took))
            if not self._fronts:
                # A connection that is being opened is not tried again before a second is over
                # (RFC 6298, 2: the first timeout), so its change may wait twice as long.
                await asyncio.sleep(rest(took))

    def _stale(self, fronts: frozenset[Frontend], flows: Collection[Flow]) -> tuple[Flow, ...]:
        met = fronts.intersection(map(frontend_of, flows))
        opening = {frontend_of(flow) for flow in flows if flow.protocol in OPENING}
        served = self._compiler.served(met | opening)
        return stale_flows(flows, answering(met | (opening & served.keys()), served))

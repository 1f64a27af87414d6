"""The node's own pods between the CNI server and the tables.

    CNI server ──attached, detached──▶ AttachedPods ──▶ compiler ──keys──▶ keeper
    keeper ──lost pods──▶ Reattaching ──▶ CNI server, which makes the link anew

The CNI server puts a pod's own tables into the kernel, exactly as they compile. All but its nft
elements: those take part in transactions with everyone else's, and are left to the keeper.
"""

import asyncio
import logging
from collections.abc import Iterable

from steppe.agent.cni.gate import Gate
from steppe.agent.cni.server import CniServer
from steppe.agent.log import line
from steppe.agent.node.keeper import RETRY_SECONDS, Keeper
from steppe.agent.node.lost import LostPods
from steppe.compile.incremental import NodeCompiler
from steppe.errors import SteppeError
from steppe.kube.objects import Workload
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key

log = logging.getLogger("steppe.agent")


class AttachedPods:
    """Tells the tables what the CNI server has done (server.Watcher)."""

    def __init__(self, compiler: NodeCompiler, keeper: Keeper, gate: Gate) -> None:
        self._compiler = compiler
        self._keeper = keeper
        self._gate = gate

    def attached(self, workload: Workload) -> None:
        """The CNI server has put a pod's tables into the kernel."""
        keys = self._compiler.set_workload(workload)
        elements = _elements(keys)
        self._keeper.reconciler.adopt(keys - elements)
        self._keeper.touch(elements)

    async def guarded(self, workload: Workload) -> None:
        await self._gate.wait(workload)

    def detached(self, link: str) -> None:
        """The CNI server has taken a pod's link away, and with it all that stood on it."""
        keys = self._compiler.remove_workload(link)
        elements = _elements(keys)
        self._keeper.reconciler.forget(keys - elements)
        self._keeper.touch(elements)


class Reattaching:
    """Has the CNI server make lost links anew, or forget the pods that are gone."""

    def __init__(self, lost: LostPods, cni: CniServer, pods: AttachedPods, keeper: Keeper) -> None:
        self._lost = lost
        self._cni = cni
        self._pods = pods
        self._keeper = keeper

    async def run(self) -> None:
        while True:
            await self._attach(await self._lost.take())

    async def _attach(self, workload: Workload) -> None:
        try:
            there = await self._cni.repair(workload)
        except (SteppeError, OSError) as error:
            log.error(line("attach-failed", pod=workload.ref, link=workload.link, error=error))
            # Compared again, it is found to be lost again.
            asyncio.get_running_loop().call_later(
                RETRY_SECONDS, self._keeper.touch, [LinkKey(workload.link)]
            )
            return
        if there:
            self._pods.attached(workload)
            log.info(line("attached-again", pod=workload.ref, link=workload.link))


def _elements(keys: Iterable[Key]) -> frozenset[Key]:
    return frozenset(key for key in keys if isinstance(key, ElementKey))

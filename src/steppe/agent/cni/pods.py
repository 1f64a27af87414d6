"""Passes attachments of pods from the CNI server to the compiler, and lost links back to it.

CNI server ──attached, detached──▶ AttachedPods ──▶ compiler ──keys──▶ keeper
    keeper ──lost pods──▶ Reattaching ──▶ CNI server, which makes the link again

The CNI server writes a pod's entries to the kernel, as they are compiled, except its nft elements:
the keeper writes those, in transactions with other elements.
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
    """Reports to the compiler and the keeper what the CNI server has done (server.Watcher)."""

    def __init__(self, compiler: NodeCompiler, keeper: Keeper, gate: Gate) -> None:
        self._compiler = compiler
        self._keeper = keeper
        self._gate = gate

    def attached(self, workload: Workload) -> None:
        """The CNI server has written a pod's entries to the kernel."""
        keys = self._compiler.set_workload(workload)
        elements = _elements(keys)
        self._keeper.reconciler.adopt(keys - elements)
        self._keeper.touch(elements)

    async def guarded(self, workload: Workload) -> None:
        await self._gate.wait(workload)

    def detached(self, link: str) -> None:
        """The CNI server has deleted a pod's link, and with it all entries on it."""
        keys = self._compiler.remove_workload(link)
        elements = _elements(keys)
        self._keeper.reconciler.forget(keys - elements)
        self._keeper.touch(elements)


class Reattaching:
    """Makes lost links again through the CNI server, or removes workloads whose pod is gone."""

    def __init__(self, lost: LostPods, cni: CniServer, pods: AttachedPods, keeper: Keeper) -> None:
        self._lost = lost
        self._cni = cni
        self._pods = pods
        self._keeper = keeper
        self._told: dict[str, str] = {}
        """What was logged of a link that cannot be made again: once, not at each attempt."""

    async def run(self) -> None:
        while True:
            await self._attach(await self._lost.take())

    async def _attach(self, workload: Workload) -> None:
        try:
            there = await self._cni.repair(workload)
        except (SteppeError, OSError) as error:
            if self._told.get(workload.link) != str(error):
                self._told[workload.link] = str(error)
                log.error(line("attach-failed", pod=workload.ref, link=workload.link, error=error))
            # The next comparison finds that the link is still lost, and reports it again.
            asyncio.get_running_loop().call_later(
                RETRY_SECONDS, self._keeper.touch, [LinkKey(workload.link)]
            )
            return
        self._told.pop(workload.link, None)
        if there:
            self._pods.attached(workload)
            log.info(line("attached-again", pod=workload.ref, link=workload.link))


def _elements(keys: Iterable[Key]) -> frozenset[Key]:
    return frozenset(key for key in keys if isinstance(key, ElementKey))

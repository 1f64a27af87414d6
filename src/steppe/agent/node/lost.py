"""Pods whose link is gone, waiting to be attached anew; one entry a link."""

import asyncio

from steppe.kube.objects import Workload


class LostPods:
    """What the keeper has found to be lost, for the CNI room to take."""

    def __init__(self) -> None:
        self._waiting: dict[str, Workload] = {}
        self._some = asyncio.Event()

    def add(self, workload: Workload) -> None:
        self._waiting[workload.link] = workload
        self._some.set()

    async def take(self) -> Workload:
        """The next one, waiting for it if there is none."""
        await self._some.wait()
        workload = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._some.clear()
        return workload

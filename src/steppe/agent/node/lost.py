"""A queue of pods whose link is missing and has to be made again; each link once."""

import asyncio

from steppe.kube.objects import Workload


class LostPods:
    """Lost pods that the keeper has found, for `cni` to take."""

    def __init__(self) -> None:
        self._waiting: dict[str, Workload] = {}
        self._some = asyncio.Event()

    def add(self, workload: Workload) -> None:
        self._waiting[workload.link] = workload
        self._some.set()

    async def take(self) -> Workload:
        """The next lost pod; waits until there is one."""
        await self._some.wait()
        workload = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._some.clear()
        return workload

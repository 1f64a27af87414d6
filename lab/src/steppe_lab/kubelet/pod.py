"""The life of one pod on its node: sandbox, init containers, containers, status, end.

One task a pod. Cancelling it leaves the pod running, for the next kubelet to find.
"""

import asyncio
import logging
import time
from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import PODS
from steppe.errors import SteppeError
from steppe_lab.kubelet import volumes
from steppe_lab.kubelet.config import NodeConfig
from steppe_lab.kubelet.containers import Runner, Surroundings
from steppe_lab.kubelet.enter import container_dir
from steppe_lab.kubelet.orders import Orders
from steppe_lab.kubelet.prober import Prober
from steppe_lab.kubelet.process import Launch
from steppe_lab.kubelet.records import Container, Pod, is_sidecar
from steppe_lab.kubelet.sandbox import NetworkNotReady, Sandbox, SandboxError, Sandboxes
from steppe_lab.kubelet.status import Ended, Seen, pod_status
from steppe_lab.kubelet.threads import NamespaceThreads

log = logging.getLogger(__name__)

_NETWORK_RETRY = 0.5
_RETRY_CAP = 30.0
# An agent that comes back should not have to wait for its pods; kubelet's own cap is minutes.
_SANDBOX_RETRY_CAP = 5.0


class Host(msgspec.Struct, frozen=True):
    """What all pods of a node share."""

    node: NodeConfig
    client: Client
    orders: Orders
    threads: NamespaceThreads
    prober: Prober
    template: int
    sandboxes: Sandboxes
    events: EventRecorder


class PodWorker:
    """Runs one pod.

    Invariant: one task runs a pod; cancelling it leaves the pod running for the next kubelet.
    """

    def __init__(self, pod: Pod, host: Host) -> None:
        self._pod = pod
        self._host = host
        self._folder = host.node.pod_dir(pod.metadata.uid)
        self._sandbox: Sandbox | None = host.sandboxes.find(pod.metadata.uid)
        self._terminal = False
        # The end of a pod under an earlier kubelet has been reported already.
        self._told = pod.status.phase in {"Succeeded", "Failed"}
        self._began = time.time()
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._removed = False
        self._sent: dict[str, Any] = {}
        self._runners = {
            one.name: Runner(one, self._surroundings(one, init=init))
            for init, containers in ((True, pod.spec.init_containers), (False, pod.spec.containers))
            for one in containers
        }
        self.update(pod)

    def update(self, pod: Pod) -> None:
        """The API shows the pod anew."""
        self._pod = pod
        self._changed.set()
        if pod.deleting:
            self._ending.set()

    def removed(self) -> None:
        """The API has no such pod any more: it was deleted by force."""
        self._removed = True
        self._ending.set()
        for runner in self._runners.values():
            runner.kill()  # the grace of a deletion that was under way is over, too

    async def run(self) -> None:
        """Run the pod from its current state to its end; returns when nothing of it is left."""
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(self._report())
            living = group.create_task(self._live())
            await self._ending.wait()
            living.cancel()
            await asyncio.wait([living])
            await self._stop_all()
            await self._remove_sandbox()
            self._terminal = True
            reporting.cancel()
        await self._delete()
        volumes.remove(self._folder)

    # Life.

    async def _live(self) -> None:
        """Run all containers to their ends; ends early only if the pod is done."""
        if self._told:
            await self._remove_sandbox()
            return
        self._sandbox = await self._sandbox_ready()
        self._changed.set()
        async with asyncio.TaskGroup() as sidecars:
            tasks: list[asyncio.Task[Ended]] = []
            if await self._initialize(sidecars, tasks):
                async with asyncio.TaskGroup() as group:
                    for one in self._pod.spec.containers:
                        group.create_task(self._runners[one.name].run(self._own_grace()))
            # "sidecar containers … are terminated after all main containers"
            for task in tasks:
                task.cancel()
        await self._stop_all()
        self._terminal = True
        await self._remove_sandbox()
        self._changed.set()

    async def _initialize(
        self, sidecars: asyncio.TaskGroup, tasks: list[asyncio.Task[Ended]]
    ) -> bool:
        """Init containers, one after the other; False if one failed for good."""
        for one in self._pod.spec.init_containers:
            runner = self._runners[one.name]
            if is_sidecar(one):
                tasks.append(sidecars.create_task(runner.run(self._own_grace())))
                await runner.started.wait()
            elif (await runner.run(self._own_grace())).exit_code != 0:
                return False
        return True

    async def _sandbox_ready(self) -> Sandbox:
        """The sandbox that is there, or a new one, however many attempts it takes."""
        if self._sandbox is not None and self._sandbox.ready:
            return self._sandbox
        delay = 1.0
        while True:
            try:
                leftover = self._host.sandboxes.find(self._pod.metadata.uid)
                if leftover is not None:
                    await self._host.sandboxes.delete(leftover)
                return await self._host.sandboxes.create(self._pod)
            except NetworkNotReady as error:
                self._event("Warning", "NetworkNotReady", f"network is not ready: {error}")
                await asyncio.sleep(_NETWORK_RETRY)
            except SteppeError as error:
                message = f"Failed to create pod sandbox: {error}"
                self._event("Warning", "FailedCreatePodSandBox", message)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _SANDBOX_RETRY_CAP)

    def _own_grace(self) -> int:
        given = self._pod.spec.termination_grace_period_seconds
        return 30 if given is None else given

    # What its containers need.

    def _surroundings(self, container: Container, *, init: bool) -> Surroundings:
        host = self._host
        return Surroundings(
            threads=host.threads,
            prober=host.prober,
            template=host.template,
            node_netns=host.node.netns,
            folder=container_dir(host.node, self._pod.metadata.uid, container.name),
            policy=self._pod.spec.restart_policy,
            init=init,
            order=self._order,
            address=self._address,
            event=self._event,
            changed=self._changed.set,
        )

    async def _order(self, container: Container) -> Launch:
        if self._sandbox is None:
            raise SandboxError("the sandbox is not ready")
        return await self._host.orders.order(self._pod, container, self._sandbox)

    def _address(self) -> str:
        """Where probes go: the pod's primary address."""
        return self._sandbox.addresses[0] if self._sandbox and self._sandbox.addresses else ""

    # The end.

    async def _stop_all(self) -> None:
        """Main containers first, then the sidecars, the last one started first."""
        grace = 0 if self._removed else self._pod.grace
        deadline = time.monotonic() + grace
        async with asyncio.TaskGroup() as group:
            for one in self._pod.spec.containers:
                group.create_task(self._runners[one.name].stop(grace))
        for one in reversed(self._pod.spec.init_containers):
            left = max(0, int(deadline - time.monotonic()))
            await self._runners[one.name].stop(left)

    async def _remove_sandbox(self) -> None:
        delay = 1.0
        while True:
            sandbox = self._host.sandboxes.find(self._pod.metadata.uid)
            if sandbox is None:
                return
            try:
                await self._host.sandboxes.delete(sandbox)
            except SteppeError as error:
                self._event("Warning", "FailedKillPod", f"error killing pod: {error}")
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_CAP)

    async def _delete(self) -> None:
        """Write the final status, then delete the pod from the API."""
        meta = self._pod.metadata
        delay = 0.5
        while not self._removed:
            try:
                await self._write(self._status())
                await self._host.client.delete(
                    PODS, meta.name, meta.namespace, grace_period=0, uid=meta.uid
                )
            except ApiError as error:
                if error.not_found or error.conflict:
                    return  # gone, or another pod of that name by now
                log.warning("pod %s: cannot be deleted: %s", self._pod.key, error)
            except SteppeError as error:
                log.warning("pod %s: cannot be deleted: %s", self._pod.key, error)
            else:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_CAP)

    # What the API is told.

    async def _report(self) -> None:
        """Write the status whenever it differs from the one written last."""
        delay = 0.2
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write(self._status())
                delay = 0.2
            except SteppeError as error:
                if isinstance(error, ApiError) and error.not_found:
                    continue
                log.warning("pod %s: status not written: %s", self._pod.key, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_CAP)
                self._changed.set()

    async def _write(self, status: dict[str, Any]) -> None:
        if self._told or status == self._sent:
            return
        meta = self._pod.metadata
        # The uid is a precondition: a pod of the same name is not this pod.
        patch = {"metadata": {"uid": meta.uid}, "status": status}
        await self._host.client.patch(
            PODS, meta.name, patch, meta.namespace, subresource="status", kind="strategic"
        )
        self._sent = status

    def _status(self) -> dict[str, Any]:
        status = pod_status(self._pod, self._seen(), time.time())
        if self._pod.status.start_time is not None:
            status["startTime"] = self._pod.status.start_time
        # A transition keeps its time while the condition stands, also before the API echoes it.
        before = {one["type"]: one for one in self._sent.get("conditions", ())}
        for one in status["conditions"]:
            old = before.get(one["type"])
            if old is not None and old["status"] == one["status"]:
                one["lastTransitionTime"] = old["lastTransitionTime"]
        return status

    def _seen(self) -> Seen:
        sandbox = self._sandbox
        return Seen(
            views={name: runner.view for name, runner in self._runners.items()},
            addresses=sandbox.addresses if sandbox else (),
            host_addresses=self._host.node.addresses,
            sandbox_ready=sandbox is not None and sandbox.ready and not self._terminal,
            started_at=self._began,
            terminal=self._terminal,
        )

    def _event(self, type_: str, reason: str, message: str) -> None:
        meta = self._pod.metadata
        about = reference(PODS, meta.name, meta.namespace, meta.uid)
        self._host.events.event(about, type_, reason, message)

"""Leader election by a Lease, with client-go's meaning.

The candidate whose name is in the Lease leads for as long as it renews it. Clocks of different
machines are never compared: a candidate counts `leaseDurationSeconds` from when it saw the Lease
change. A leader that could not renew for `renew` seconds cancels its work, before another candidate
may begin (`lease` is longer); so the work must be cancellable.
"""

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.leases import LeaseSpec, micro_time
from steppe.client.resources import LEASES
from steppe.errors import SteppeError

log = logging.getLogger(__name__)


class Timing(msgspec.Struct, frozen=True):
    """Times in seconds, with the defaults of client-go and kube-controller-manager."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


class LostLeadershipError(SteppeError):
    """The Lease was not renewed in time: another candidate may lead now."""


def identity() -> str:
    """A name that is unique among candidates, also on this machine."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


class Elector:
    """One candidate for one Lease.

    Invariant: `work` runs only while less than `renew` seconds have passed since the last
    successful write of the Lease.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str = "kube-system",
        *,
        candidate: str = "",
        timing: Timing | None = None,
    ) -> None:
        self.candidate = candidate or identity()
        self.leading = False
        self._client = client
        self._name = name
        self._namespace = namespace
        self._timing = timing or Timing()
        self._observed = LeaseSpec()
        self._observed_at = 0.0

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for leadership, then work; LostLeadershipError when the Lease is lost."""
        while not await self._attempt():  # noqa: ASYNC110 - what we wait for is in the server
            await asyncio.sleep(self._timing.retry * random.uniform(1, 2.2))  # noqa: S311 - jitter
        log.info("leading lease=%s/%s as=%s", self._namespace, self._name, self.candidate)
        self.leading = True
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew())
                await work()
                renewing.cancel()
        except* LostLeadershipError as lost:
            raise lost.exceptions[0] from None
        finally:
            self.leading = False
            await self._release()

    async def _renew(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._timing.retry)
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time()
                    + max(0.0, renewed + self._timing.renew - time.monotonic())
                ):
                    held = await self._attempt()
            except TimeoutError:
                held = False
            if held:
                renewed = time.monotonic()
            elif self._holder_is_other() or time.monotonic() - renewed >= self._timing.renew:
                raise LostLeadershipError(f"lease {self._namespace}/{self._name} was lost")

    def _holder_is_other(self) -> bool:
        return self._observed.holder_identity not in (None, "", self.candidate)

    async def _attempt(self) -> bool:
        """Try once to take or renew the Lease; False if another has it or the API is away."""
        try:
            return await self._take()
        except ApiError as error:
            if not (error.conflict or error.already_exists):
                log.warning("lease %s/%s: %s", self._namespace, self._name, error)
        except SteppeError as error:
            log.warning("lease %s/%s: %s", self._namespace, self._name, error)
        return False

    async def _take(self) -> bool:
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            await self._client.create(LEASES, self._fresh(), self._namespace)
            return True
        spec = msgspec.convert(lease.get("spec") or {}, LeaseSpec)
        if spec != self._observed:
            self._observed = spec
            self._observed_at = time.monotonic()
        ours = spec.holder_identity == self.candidate
        lasts = spec.lease_duration_seconds or self._timing.lease
        if spec.holder_identity and not ours and time.monotonic() < self._observed_at + lasts:
            return False
        lease["spec"] = {**lease.get("spec", {}), **self._spec(spec, ours=ours)}
        # The resourceVersion in `lease` makes the server accept only one of several candidates.
        answer = await self._client.update(LEASES, lease, self._namespace)
        self._observed = msgspec.convert(answer.get("spec") or {}, LeaseSpec)
        self._observed_at = time.monotonic()
        return True

    def _fresh(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(LeaseSpec(), ours=False),
        }

    def _spec(self, before: LeaseSpec, *, ours: bool) -> dict[str, Any]:
        now = micro_time()
        transitions = before.lease_transitions or 0
        handover = bool(before.acquire_time) and not ours
        return {
            "holderIdentity": self.candidate,
            "leaseDurationSeconds": max(1, round(self._timing.lease)),
            "acquireTime": before.acquire_time if ours and before.acquire_time else now,
            "renewTime": now,
            "leaseTransitions": transitions + handover,
        }

    async def _release(self) -> None:
        """Give up the Lease, so that the next candidate can begin at once (ReleaseOnCancel)."""
        try:
            async with asyncio.timeout(2):
                lease = await self._client.get(LEASES, self._name, self._namespace)
                if lease.get("spec", {}).get("holderIdentity") != self.candidate:
                    return
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.update(LEASES, lease, self._namespace)
        except (SteppeError, TimeoutError) as error:
            log.info("lease %s/%s was left to run out: %s", self._namespace, self._name, error)

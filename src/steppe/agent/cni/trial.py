"""Tries what an ADD needs, before a pod does: attaches a pod to a throw-away node and detaches it.

    not tried ──▶ attempt ──works──▶ idle ──an ADD fails──▶ attempt
                    ▲  └───fails──▶ the node is not ready; again after AGAIN_SECONDS ──┐
                    └──────────────────────────────────────────────────────────────────┘

A container that may enter namespaces and make links can still have a read-only /proc/sys, and then
no pod can be attached. The attempt runs the code of a real ADD, CHECK and DEL, with the node's own
prefixes and MTU, between two namespaces that nobody else sees (drivers/trial.py).
"""

import asyncio
import contextlib
import logging
from typing import Protocol

import msgspec

from steppe.agent.cni.attach import Attachments, NodeView, run
from steppe.agent.cni.request import Previous, Request
from steppe.agent.cni.result import add_result
from steppe.agent.log import line
from steppe.agent.node.passes import Passes
from steppe.drivers.namespaces import TrialNodes
from steppe.errors import SteppeError

log = logging.getLogger("steppe.agent.cni")

AGAIN_SECONDS = 5.0
"""Seconds between two attempts: each makes two namespaces, and ADDs may fail by the hundred."""
WAIT_SECONDS = 1.0
"""Seconds between two looks whether the node has prefixes, without a pass over the kernel."""


class TrialError(SteppeError):
    """The trial pod was attached, and its attachment is not as it was to be."""


class TriedView(NodeView, Protocol):
    """The node that pods are attached to."""

    def why_not_ready(self) -> str: ...


class Trial:
    """The last attempt's outcome; `run` makes attempts."""

    def __init__(self, view: TriedView, nodes: TrialNodes, passes: Passes) -> None:
        self._view = view
        self._nodes = nodes
        self._passes = passes
        self._wanted = asyncio.Event()
        self._wanted.set()
        self.passed = asyncio.Event()
        """Set while the last attempt went well."""
        self.why = "whether a pod can be attached has not been tried yet"
        """Why a pod cannot be attached; "" after an attempt that went well."""

    def again(self) -> None:
        """The kernel has refused a real ADD: make another attempt soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Make attempts until cancelled."""
        while True:
            await self._wanted.wait()
            while self._view.why_not_ready():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_SECONDS):
                        await self._passes.until(lambda: not self._view.why_not_ready())
            self._wanted.clear()
            await self.attempt()
            await asyncio.sleep(AGAIN_SECONDS)
            if self.why:
                self._wanted.set()

    async def attempt(self) -> None:
        """Attach and detach a trial pod once, and keep why it failed."""
        before, self.why = self.why, await asyncio.to_thread(self._attempted)
        if self.why:
            self.passed.clear()
            if self.why != before:
                log.error(line("not-attachable", error=self.why))
        else:
            self.passed.set()
            if before:
                log.info(line("attachable"))

    def _attempted(self) -> str:
        try:
            self._attach_and_detach()
        except (SteppeError, OSError) as error:
            return f"a trial pod cannot be attached: {error}"
        return ""

    def _attach_and_detach(self) -> None:
        with self._nodes() as node:
            pods = Attachments(self._view, node.host, node.namespaces)
            request = Request("ADD", "1.0.0", container="trial", netns=node.netns, interface="eth0")
            result = add_result(request, run(pods.add(request)), self._view.mtu)
            previous = msgspec.convert(result, Previous)
            if faults := pods.faults(msgspec.structs.replace(request, previous=previous)):
                raise TrialError("; ".join(faults))
            pods.remove(request.link)
            if pods.found():
                raise TrialError(f"its link {request.link} is still there after its removal")

"""A new pod waits here for its policies: its ADD succeeds only when the kernel has them."""

import asyncio
from collections.abc import Callable

from steppe.agent.node.passes import Passes
from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import POLICIES
from steppe.errors import SteppeError
from steppe.kube.objects import Workload

WAIT_SECONDS = 10.0
"""Seconds that a pod waits; the plugin gives up after 30 s."""


_NOT_TAKEN = "the kernel has not taken its policies yet; the agent's log says why"


class UnguardedError(SteppeError):
    """A pod's policies are not in the kernel in time, so the pod must not start."""


class Gate:
    """Lets a pod start when its policies are in the kernel.

    Invariant: `wait` does not return for a pod that a policy may select before the kernel has the
    entries of that policy.
    """

    def __init__(
        self,
        compiler: NodeCompiler,
        reconciler: Reconciler,
        trusted: Callable[[], bool],
        passes: Passes,
    ) -> None:
        self._compiler = compiler
        self._reconciler = reconciler
        self._trusted = trusted
        self._passes = passes

    async def wait(self, workload: Workload) -> None:
        """Return once the pod's policies are in the kernel; UnguardedError with the reason if not.

        If the API's lists are not complete after the wait, the API counts as unreachable. Then the
        policy memory in the kernel decides: a pod that no policy can select may start.
        """
        if not self._compiler.settings.policies:
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._passes.until(lambda: not self._unknown(workload))
                begun = self._reconciler.begun
                await self._passes.until(lambda: not self._missing(workload, begun))
        except TimeoutError as error:
            if not self._trusted() and not self._may_be_policed(workload):
                return
            reason = self._unknown(workload) or _NOT_TAKEN
            raise UnguardedError(reason) from error

    def _unknown(self, workload: Workload) -> str:
        """Why the pod's policies are not known; "" if they are."""
        if not self._trusted():
            return "its policies are not known: not all lists of the API server have been read yet"
        if not self._compiler.policies.knows(workload):
            return f"its policies are not known: the API server has not sent {workload.ref} yet"
        return ""

    def _missing(self, workload: Workload, begun: int) -> bool:
        """Whether the kernel does not have the policies yet that were known after `begun` passes.

        It need not have the newest ones: if policies changed all the time, the pod would never
        start.
        """
        keys = tuple(self._compiler.policies.keys(workload.link))
        if self._reconciler.ended > begun:
            return not self._reconciler.failed.keys().isdisjoint(keys)
        actual, desired = self._reconciler.actual, self._compiler.state
        return any(actual.get(key) != desired[key].value for key in keys)

    def _may_be_policed(self, workload: Workload) -> bool:
        """Whether a policy that is known now, or was when the kernel was last in sync, may select
        the pod.
        """
        kernel, namespace = self._reconciler.actual, workload.namespace
        known = self._compiler.policies.has_policies(namespace)
        return known or POLICIES.may_have_policies(kernel, namespace)

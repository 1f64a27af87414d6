"""Where a new pod waits for its policies: it starts when the kernel holds them, or not at all."""

import asyncio
from collections.abc import Callable

from steppe.agent.node.passes import Passes
from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import POLICIES
from steppe.errors import SteppeError
from steppe.kube.objects import Workload

WAIT_SECONDS = 10.0
"""How long a pod waits; the plugin gives up after 30 s."""


_NOT_TAKEN = "the kernel has not taken its policies yet; the agent's log says why"


class UnguardedError(SteppeError):
    """A pod's policies did not get into the kernel, so it must not start."""


class Gate:
    """Opens for a pod once its policies are where they belong.

    Invariant: it never opens for a pod that a policy may select before the kernel holds what that
    policy asks for.
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
        """Return once the pod is guarded; UnguardedError, with the reason, if that takes long.

        Where the API has not spoken by then it is taken to be away, and what the kernel remembers
        of policies to hold: a pod that none of them can select need not wait for any.
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
        """What is not known of the pod's policies; "" for nothing."""
        if not self._trusted():
            return "its policies are not known: the API server has not told of all objects yet"
        if not self._compiler.policies.knows(workload):
            return f"its policies are not known: the API has not told of {workload.ref}"
        return ""

    def _missing(self, workload: Workload, begun: int) -> bool:
        """Whether the kernel has yet to take the policies that were known after `begun` passes.

        It need not have those of this very moment: where policies change all the time it never
        would.
        """
        keys = tuple(self._compiler.policies.keys(workload.link))
        if self._reconciler.ended > begun:
            return not self._reconciler.failed.keys().isdisjoint(keys)
        actual, desired = self._reconciler.actual, self._compiler.state
        return any(actual.get(key) != desired[key].value for key in keys)

    def _may_be_policed(self, workload: Workload) -> bool:
        """Whether any policy known now, or when the kernel was last in step, may select the pod."""
        kernel, namespace = self._reconciler.actual, workload.namespace
        known = self._compiler.policies.has_policies(namespace)
        return known or POLICIES.may_have_policies(kernel, namespace)

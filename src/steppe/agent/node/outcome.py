"""Passes the results of the keeper's passes on to those who act on them.

keeper ──changed keys──▶ stale flows, forbidden flows
                  ──lost pods─────▶ pods to attach again
                  ──pass ended────▶ tasks that wait for it

       Nothing here calls the keeper, so there is no cycle from an event to the kernel and on.
"""

from collections.abc import Callable, Collection

from steppe.agent.node.flows import FlowEnder
from steppe.agent.node.lost import LostPods
from steppe.agent.node.passes import Passes
from steppe.agent.node.policy_flows import PolicyFlowEnder
from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import Workload
from steppe.state.node import Key


class Outcome:
    """The keeper's Owner.

    `complete`: whether every list that the kernel depends on is complete.

    `attachable`: whether pods can be attached now.
    """

    def __init__(
        self,
        *,
        compiler: NodeCompiler,
        complete: Callable[[], bool],
        attachable: Callable[[], bool],
        flows: FlowEnder,
        policy_flows: PolicyFlowEnder,
        lost: LostPods,
        passes: Passes,
    ) -> None:
        self._compiler = compiler
        self._complete = complete
        self._attachable = attachable
        self._flows = flows
        self._policy_flows = policy_flows
        self._lost = lost
        self._passes = passes
        self._looked = False

    @property
    def trusted(self) -> bool:
        """Whether every list that the kernel depends on is complete; else nothing is changed."""
        return self._complete()

    def applied(self, keys: Collection[Key]) -> None:
        self._flows.changed(keys)
        self._policy_flows.changed(keys)

    async def lost(self, workload: Workload) -> None:
        self._lost.add(workload)

    async def in_step(self) -> None:
        if not self._looked and self._attachable():
            # A backend or a policy may have changed while no agent ran.
            self._looked = True
            self.applied(self._compiler.state)
        self._policy_flows.in_step()
        await self._passes.ended()

"""Updates the metrics about entries and Problems after each pass over the kernel."""

from collections.abc import Callable, Collection

from steppe.agent.health.metrics import Metrics
from steppe.agent.node.passes import Passes
from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Problem


class Gauges:
    """The metrics of one node's tables."""

    def __init__(
        self,
        metrics: Metrics,
        compiler: NodeCompiler,
        reconciler: Reconciler,
        out_of_sync: Callable[[], str],
        problems: Callable[[], Collection[Problem]],
    ) -> None:
        """`out_of_sync`: why not every kind is watched; "" if all are in sync."""
        self._metrics = metrics
        self._compiler = compiler
        self._reconciler = reconciler
        self._out_of_sync = out_of_sync
        self._problems = problems

    async def run(self, passes: Passes) -> None:
        self._metrics.problems.set_function(lambda: len(self._problems()))  # counted when asked
        self._metrics.api_synced.set_function(lambda: 0 if self._out_of_sync() else 1)
        seen = 0
        while True:
            seen = await passes.next(seen)
            self._measure()

    def _measure(self) -> None:
        self._metrics.count(self._compiler.state.counts())
        failed = self._reconciler.failed
        self._metrics.failed.set(len(failed))
        self._metrics.in_sync.set(0 if failed else 1)

"""Updates the metrics about entries and Problems after each pass over the kernel."""

from collections.abc import Callable, Collection

from steppe.agent.health.metrics import Metrics
from steppe.agent.node.passes import Passes
from steppe.agent.node.reconciler import Reconciler
from steppe.client.informer import WatchStatus
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Problem


class Gauges:
    """The metrics of one node's tables."""

    def __init__(
        self,
        metrics: Metrics,
        compiler: NodeCompiler,
        reconciler: Reconciler,
        nodes: WatchStatus,
        problems: Callable[[], Collection[Problem]],
    ) -> None:
        """`nodes`: the status of the watch of nodes."""
        self._metrics = metrics
        self._compiler = compiler
        self._reconciler = reconciler
        self._nodes = nodes
        self._problems = problems

    async def run(self, passes: Passes) -> None:
        self._metrics.problems.set_function(lambda: len(self._problems()))  # counted when asked
        seen = 0
        while True:
            seen = await passes.next(seen)
            self._measure()

    def _measure(self) -> None:
        self._metrics.count(self._compiler.state.counts())
        failed = self._reconciler.failed
        self._metrics.failed.set(len(failed))
        self._metrics.in_sync.set(0 if failed else 1)
        self._metrics.api_synced.set(1 if self._nodes.synced_since is not None else 0)

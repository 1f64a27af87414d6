"""Writes the prefixes that `prefixes` plans to the API, and reports what could not be done."""

import logging

import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.events import EventRecorder, reference
from steppe.client.resources import NODES
from steppe.client.store import Store
from steppe.client.workqueue import Workqueue
from steppe.controller.health import Metrics
from steppe.controller.prefixes import Network, Node, Plan, Problem, Range, plan

log = logging.getLogger(__name__)


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class _NodeSpec(msgspec.Struct, frozen=True):
    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class NodeObject(msgspec.Struct, frozen=True):
    """The fields in use of core/v1 Node."""

    metadata: _Metadata
    spec: _NodeSpec = _NodeSpec()

    def view(self) -> Node:
        # "podCIDRs … If this field is specified, the 0th entry must match the podCIDR field."
        single = (self.spec.pod_cidr,) if self.spec.pod_cidr else ()
        return Node(
            name=self.metadata.name,
            uid=self.metadata.uid,
            created=self.metadata.creation_timestamp or "",
            pod_cidrs=self.spec.pod_cidrs or single,
        )


class PodCIDRController:
    """Plans for all nodes together, since prefixes must not overlap.

    Invariant: a prefix is written only to a node whose resourceVersion is the one that was planned
    with, and each Problem is reported once for as long as it lasts.
    """

    def __init__(
        self,
        client: Client,
        nodes: Store[NodeObject],
        ranges: tuple[Range, ...],
        events: EventRecorder,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._ranges = ranges
        self._events = events
        self._metrics = metrics
        self._queue: Workqueue[str] = Workqueue("podcidrs")
        self._reported: set[Problem] = set()

    def look(self) -> None:
        """Plan again soon: something about the nodes may have changed."""
        self._queue.add("nodes")

    async def run(self) -> None:
        self._nodes.listen(self._changed)
        self.look()
        await self._queue.run(self._reconcile, workers=1)

    def _changed(self, old: NodeObject | None, new: NodeObject | None) -> None:
        if old is None or new is None or old.view() != new.view():
            self.look()

    async def _reconcile(self, _: str) -> None:
        planned = plan([node.view() for node in self._nodes.values()], self._ranges)
        self._tell(planned)
        for name, prefixes in planned.assign.items():
            await self._assign(name, prefixes)

    async def _assign(self, name: str, prefixes: tuple[Network, ...]) -> None:
        node = self._nodes.get("", name)
        if node is None:
            return
        texts = [str(prefix) for prefix in prefixes]
        patch = {
            # With the resourceVersion: if podCIDRs have been set meanwhile, the server refuses
            # ours.
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"podCIDR": texts[0], "podCIDRs": texts},
        }
        try:
            answer = await self._client.patch(NODES, name, patch)
        except ApiError as error:
            if error.not_found:
                return
            if error.conflict:
                # Read the Node again, so that the next plan starts from its new podCIDRs.
                self._note(await self._client.get(NODES, name))
            raise
        self._note(answer)
        self._metrics.assigned.inc()
        log.info(
            'change=assign object=Node/%s podCIDRs=%s cause="spec.podCIDRs was empty"',
            name,
            ",".join(texts),
        )

    def _note(self, answer: dict[str, object]) -> None:
        self._nodes.note(msgspec.convert(answer, NodeObject))

    def _tell(self, planned: Plan) -> None:
        """Report each Problem once for as long as it lasts."""
        problems = set(planned.problems)
        for problem in planned.problems:
            if problem in self._reported:
                continue
            log.warning(
                'problem=%s object=Node/%s cause="%s"',
                problem.reason,
                problem.node.name,
                problem.message,
            )
            about = reference(NODES, problem.node.name, uid=problem.node.uid)
            self._events.event(about, "Warning", problem.reason, problem.message)
        self._reported = problems
        self._metrics.planned(
            len(self._nodes.items),
            len(problems),
            {f"IPv{r.version}": n for r, n in zip(self._ranges, planned.free, strict=True)},
        )

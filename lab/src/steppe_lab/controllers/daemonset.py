"""The DaemonSet controller: one pod on every node that matches its template.

The pods are pinned by node affinity and bound by the scheduler, as kube-controller-manager does.
Left out: ControllerRevisions, so `kubectl rollout undo` of a DaemonSet finds no history; maxSurge.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from steppe.client.resources import DAEMONSETS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers.matching import (
    NOT_READY,
    UNREACHABLE,
    UNSCHEDULABLE,
    tolerates,
    wants_node,
)
from steppe_lab.controllers.objects import (
    DaemonSet,
    DaemonSetStatus,
    Node,
    Pod,
    PodSpec,
    Toleration,
    controller_of,
    to_json,
)
from steppe_lab.controllers.podcontrol import (
    FINISHED,
    PodControl,
    available_in,
    is_active,
    is_ready,
    short_hash,
)
from steppe_lab.controllers.rollout import percent
from steppe_lab.controllers.world import World

HASH = "controller-revision-hash"
# "The DaemonSet controller automatically adds a set of tolerations to DaemonSet Pods"
TOLERATIONS = (
    Toleration(NOT_READY, "Exists", effect="NoExecute"),
    Toleration(UNREACHABLE, "Exists", effect="NoExecute"),
    Toleration(NOT_READY, "Exists", effect="NoSchedule"),
    Toleration(UNREACHABLE, "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/disk-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/memory-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/pid-pressure", "Exists", effect="NoSchedule"),
    Toleration(UNSCHEDULABLE, "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/network-unavailable", "Exists", effect="NoSchedule"),
)


class DaemonPlan(msgspec.Struct, frozen=True):
    """Nodes that lack a pod, pods to delete, and the counts for the status."""

    create: tuple[str, ...]
    delete: tuple[Pod, ...]
    status: DaemonSetStatus
    wait: float | None
    """Seconds until a pod that is ready becomes available."""


def daemon_spec(daemonset: DaemonSet) -> PodSpec:
    """The scheduling part of the template, with the tolerations that every daemon has."""
    spec = msgspec.convert(daemonset.spec.template.get("spec") or {}, PodSpec)
    return msgspec.structs.replace(spec, tolerations=spec.tolerations + TOLERATIONS)


def may_run(spec: PodSpec, node: Node) -> tuple[bool, bool]:
    """Whether a node should get a pod, and whether one that is there may stay."""
    if not wants_node(spec, node):
        return False, False
    repelled = {t.effect for t in node.spec.taints if not tolerates(spec.tolerations, t)}
    may_stay = "NoExecute" not in repelled
    return may_stay and "NoSchedule" not in repelled, may_stay


def target_node(pod: Pod) -> str:
    """The node a daemon pod is on, or is pinned to."""
    if pod.spec.node_name:
        return pod.spec.node_name
    node = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    for term in node.required.node_selector_terms if node and node.required else ():
        for field in term.match_fields:
            if field.key == "metadata.name" and field.values:
                return field.values[0]
    return ""


def daemon_plan(
    daemonset: DaemonSet, nodes: Iterable[Node], pods: Iterable[Pod], now: dt.datetime
) -> DaemonPlan:
    spec, hashed = daemon_spec(daemonset), short_hash(daemonset.spec.template)
    by_node: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in sorted(pods, key=lambda p: (p.metadata.creation_timestamp or "", p.metadata.name)):
        by_node[target_node(pod)].append(pod)
    create: list[str] = []
    delete: list[Pod] = []
    kept: list[Pod] = []
    desired = misscheduled = 0
    for node in nodes:
        wanted, may_stay = may_run(spec, node)
        here = by_node.pop(node.metadata.name, [])
        active = [pod for pod in here if is_active(pod)]
        desired += wanted
        misscheduled += bool(active) and not wanted
        delete += [p for p in here if p.status.phase in FINISHED and is_undeleted(p)]
        if not may_stay:
            delete += active
            continue
        kept += active[:1]
        delete += active[1:]
        if wanted and not here:
            create.append(node.metadata.name)
    waits = [available_in(pod, daemonset.spec.min_ready_seconds, now) for pod in kept]
    status = DaemonSetStatus(
        observed_generation=daemonset.metadata.generation,
        desired_number_scheduled=desired,
        current_number_scheduled=len(kept),
        number_misscheduled=misscheduled,
        number_ready=sum(is_ready(pod) for pod in kept),
        number_available=sum(wait == 0 for wait in waits),
        number_unavailable=max(0, desired - sum(wait == 0 for wait in waits)),
        updated_number_scheduled=sum(pod.metadata.labels.get(HASH) == hashed for pod in kept),
    )
    outdated = _outdated(daemonset, kept, hashed, status)
    wait = min((wait for wait in waits if wait), default=None)
    return DaemonPlan(tuple(create), (*delete, *outdated), status, wait)


def is_undeleted(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None


def _outdated(
    daemonset: DaemonSet, kept: list[Pod], hashed: str, status: DaemonSetStatus
) -> list[Pod]:
    """Old pods to replace now: all unavailable ones, and others as maxUnavailable allows."""
    strategy = daemonset.spec.update_strategy
    if strategy.type == "OnDelete":
        return []
    old = [pod for pod in kept if pod.metadata.labels.get(HASH) != hashed]
    useless = [pod for pod in old if not is_ready(pod)]
    rolling = strategy.rolling_update
    given = rolling.max_unavailable if rolling else None
    allowed = percent(1 if given is None else given, status.desired_number_scheduled, up=True)
    room = max(0, allowed - status.number_unavailable)
    return useless + [pod for pod in old if is_ready(pod)][:room]


class DaemonSetController:
    """Reconciles one DaemonSet at a time with the nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods = PodControl(world, DAEMONSETS)
        self._queue: Workqueue[Key] = Workqueue("daemonset")

    async def run(self) -> None:
        self._world.daemonsets.listen(self._changed)
        self._world.pods.listen(self._pod_changed)
        self._world.nodes.listen(self._node_changed)
        await self._queue.run(self._reconcile)

    def _changed(self, _: DaemonSet | None, new: DaemonSet | None) -> None:
        if new is not None:
            self._queue.add(key_of(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = controller_of(pod.metadata) if pod else None
            if pod is not None and owner is not None and owner.kind == "DaemonSet":
                self._queue.add((pod.metadata.namespace, owner.name))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old and new and (old.spec, old.metadata.labels) == (new.spec, new.metadata.labels):
            return
        for key in self._world.daemonsets.items:
            self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        daemonset = self._world.daemonsets.get(*key)
        if daemonset is None or daemonset.metadata.deletion_timestamp:
            return
        meta = daemonset.metadata
        pods = await self._pods.claim(meta, daemonset.spec.selector)
        plan = daemon_plan(daemonset, self._world.nodes.values(), pods, dt.datetime.now(dt.UTC))
        await self._pods.delete(meta, plan.delete)
        for node in plan.create:
            await self._create(daemonset, node)
        if plan.wait is not None:
            self._queue.add_after(key, plan.wait + 0.1)
        if plan.status != daemonset.status:
            answer = await self._world.client.patch(
                DAEMONSETS,
                meta.name,
                {"status": _zeros() | to_json(plan.status)},
                meta.namespace,
                subresource="status",
            )
            self._world.daemonsets.note(msgspec.convert(answer, DaemonSet))

    async def _create(self, daemonset: DaemonSet, node: str) -> None:
        template = daemonset.spec.template
        spec = template.get("spec") or {}
        pinned = {
            "nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            ]
        }
        # The template's own node affinity is met already, or there would be no pod here.
        affinity = (spec.get("affinity") or {}) | {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": pinned}
        }
        tolerations = [*(spec.get("tolerations") or []), *(to_json(t) for t in TOLERATIONS)]
        await self._pods.create(
            daemonset.metadata,
            template,
            labels={HASH: short_hash(template)},
            spec={"affinity": affinity, "tolerations": tolerations},
        )


def _zeros() -> dict[str, object]:
    """The counts the API requires even when they are zero."""
    names = (
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberMisscheduled",
        "numberReady",
        "numberAvailable",
        "numberUnavailable",
        "updatedNumberScheduled",
    )
    return dict.fromkeys(names, 0)

"""Node lifecycle: taints nodes that are not ready or not reporting, and evicts their pods.

Lease not renewed ──▶ Ready=Unknown ──▶ taint unreachable ──▶ pods are evicted after a while
Ready=False ────────▶ taint not-ready ──────────────────────▶ the same
Node deleted ───────▶ its pods are deleted at once
"""

import datetime as dt
import time
from typing import Any

import msgspec

from steppe.client.errors import ApiError
from steppe.client.events import reference
from steppe.client.resources import NODES, PODS
from steppe.client.workqueue import Workqueue
from steppe_lab.controllers.matching import NOT_READY, UNREACHABLE, UNSCHEDULABLE, tolerates
from steppe_lab.controllers.objects import Condition, Lease, Node, Pod, Taint, condition, to_json
from steppe_lab.controllers.podcontrol import FINISHED, parse_time, timestamp
from steppe_lab.controllers.world import World

# kube-controller-manager's --node-monitor-grace-period
GRACE_SECONDS = 50.0
# "Kubernetes automatically adds a toleration for node.kubernetes.io/not-ready and
# node.kubernetes.io/unreachable with tolerationSeconds=300" - by an admission plugin that a
# server need not have.
DEFAULT_TOLERATION_SECONDS = 300
OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)


def lifecycle_taints(node: Node, now: dt.datetime) -> tuple[Taint, ...]:
    """The taints a node should have; those that are right keep the time they were added."""
    ready = condition(node.status.conditions, "Ready")
    keys: list[tuple[str, str]] = []
    if ready is None or ready.status == "False":
        keys += [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
    elif ready.status == "Unknown":
        keys += [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    if node.spec.unschedulable:
        keys.append((UNSCHEDULABLE, "NoSchedule"))
    held = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    others = tuple(taint for taint in node.spec.taints if taint.key not in OURS)
    wanted = tuple(
        held.get((key, effect)) or Taint(key, effect, time_added=timestamp(now))
        for key, effect in keys
    )
    return others + wanted


def eviction_in(pod: Pod, taints: tuple[Taint, ...], now: dt.datetime) -> float | None:
    """Seconds until NoExecute taints evict a pod; None if it tolerates them."""
    delays = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        added = parse_time(taint.time_added)
        age = (now - added).total_seconds() if added else 0.0
        matching = [t for t in pod.spec.tolerations if tolerates((t,), taint)]
        if any(t.toleration_seconds is None for t in matching):
            continue
        stays = min((t.toleration_seconds or 0 for t in matching), default=0)
        if not matching and taint.key in (NOT_READY, UNREACHABLE):
            stays = DEFAULT_TOLERATION_SECONDS
        delays.append(max(0.0, stays - age))
    return min(delays, default=None)


class NodeLifecycleController:
    """Watches heartbeats and taints nodes; one key a node.

    Invariant: the age of a heartbeat is measured with this process's clock alone, never with a
    node's.
    """

    def __init__(self, world: World, grace_seconds: float = GRACE_SECONDS) -> None:
        self._world = world
        self._grace = grace_seconds
        self._queue: Workqueue[str] = Workqueue("node")
        self._heard: dict[str, float] = {}
        """When a Lease last changed, by our own clock: those of nodes are never compared to it."""

    async def run(self) -> None:
        self._world.leases.listen(self._lease_changed)
        self._world.nodes.listen(self._node_changed)
        self._world.pods.listen(self._pod_changed)
        await self._queue.run(self._reconcile)

    def _lease_changed(self, old: Lease | None, new: Lease | None) -> None:
        if new is not None and (old is None or old.spec.renew_time != new.spec.renew_time):
            known = new.metadata.name in self._heard
            self._heard[new.metadata.name] = time.monotonic()
            if not known:
                self._queue.add(new.metadata.name)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        changed = new or old
        if changed is not None:
            self._queue.add(changed.metadata.name)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None or not new.spec.node_name or (old and old.spec.node_name):
            return
        node = self._world.nodes.get("", new.spec.node_name)
        if node is None or any(taint.effect == "NoExecute" for taint in node.spec.taints):
            self._queue.add(new.spec.node_name)

    async def _reconcile(self, name: str) -> None:
        node = self._world.nodes.get("", name)
        if node is None:
            self._heard.pop(name, None)
            await self._node_gone(name)
            return
        now = dt.datetime.now(dt.UTC)
        node = await self._judge_heartbeat(node, now)
        taints = lifecycle_taints(node, now)
        if taints != node.spec.taints:
            node = await self._taint(node, taints)
        await self._evict(node, now)

    async def _judge_heartbeat(self, node: Node, now: dt.datetime) -> Node:
        """A node whose Lease stopped is Unknown; one that never had a Lease is left alone."""
        name = node.metadata.name
        heard = self._heard.get(name)
        ready = condition(node.status.conditions, "Ready")
        if heard is None or ready is None:
            return node
        left = heard + self._grace - time.monotonic()
        if left > 0:
            self._queue.add_after(name, left + 0.1)
            return node
        if ready.status == "Unknown":
            return node
        silent = Condition(
            type="Ready",
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_transition_time=timestamp(now),
            last_heartbeat_time=ready.last_heartbeat_time,
        )
        self._say(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        patch = {"status": {"conditions": [to_json(silent)]}}
        return self._noted(
            await self._world.client.patch(
                NODES, name, patch, subresource="status", kind="strategic"
            )
        )

    async def _taint(self, node: Node, taints: tuple[Taint, ...]) -> Node:
        meta = {"resourceVersion": node.metadata.resource_version}
        spec = {"taints": [to_json(taint) for taint in taints] or None}
        patch = {"metadata": meta, "spec": spec}
        return self._noted(await self._world.client.patch(NODES, node.metadata.name, patch))

    def _noted(self, answer: dict[str, Any]) -> Node:
        node = msgspec.convert(answer, Node)
        self._world.nodes.note(node)
        return node

    async def _evict(self, node: Node, now: dt.datetime) -> None:
        for pod in self._world.pods_by_node[node.metadata.name]:
            if pod.metadata.deletion_timestamp or self._world.pods.is_marked_deleted(pod):
                continue
            delay = eviction_in(pod, node.spec.taints, now)
            if delay is None or pod.status.phase in FINISHED:
                continue
            if delay:
                self._queue.add_after(node.metadata.name, delay + 0.1)
            else:
                await self._delete_pod(pod, None)

    async def _node_gone(self, name: str) -> None:
        """Delete the pods of a deleted node: no kubelet is left to do it."""
        pods = self._world.pods_by_node[name]
        if not pods:
            return
        try:
            await self._world.client.get(NODES, name)
        except ApiError as error:
            if not error.not_found:
                raise
        else:
            return
        for pod in pods:
            await self._delete_pod(pod, 0)

    async def _delete_pod(self, pod: Pod, grace: int | None) -> None:
        meta = pod.metadata
        try:
            await self._world.client.delete(
                PODS, meta.name, meta.namespace, grace_period=grace, uid=meta.uid
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
        self._world.pods.mark_deleted(pod)

    def _say(self, node: Node, reason: str, message: str) -> None:
        about = reference(NODES, node.metadata.name, uid=node.metadata.uid)
        self._world.events.event(about, "Normal", reason, message)

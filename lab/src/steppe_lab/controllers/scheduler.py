"""The scheduler: gives each pod without a node one, by `scheduling.choose_node`."""

import datetime as dt
from collections import Counter

import msgspec

from steppe.client.errors import ApiError
from steppe.client.events import reference
from steppe.client.resources import PODS
from steppe.client.store import Key, key_of
from steppe.client.workqueue import Workqueue
from steppe.errors import SteppeError
from steppe_lab.controllers.objects import Node, Pod, condition
from steppe_lab.controllers.scheduling import Placement, Refused, choose_node, owner_of
from steppe_lab.controllers.world import World

NAME = "default-scheduler"
FINISHED = ("Succeeded", "Failed")


class Scheduler:
    """Binds pods to nodes; counts its own bindings at once, before the watch reports them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queue: Workqueue[Key] = Workqueue("scheduler")
        self._placed: dict[str, Placement] = {}
        self._total: Counter[str] = Counter()
        self._of_owner: Counter[tuple[str, str]] = Counter()
        self._picky: set[str] = set()
        """Bound pods with anti-affinity: they may exclude new pods."""
        self._refused: set[Key] = set()
        """Pods no node would take; a changed node or a pod that left may change that."""

    async def run(self) -> None:
        self._world.pods.listen(self._pod_changed)
        self._world.nodes.listen(self._node_changed)
        await self._queue.run(self._schedule, workers=8)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None or new.status.phase in FINISHED:
            gone = new or old
            if gone is not None:
                self._refused.discard(key_of(gone))
                if self._unplace(gone.metadata.uid):
                    self._retry_refused()
            return
        if new.spec.node_name:
            self._refused.discard(key_of(new))
            self._place(new, new.spec.node_name)
        elif (
            new.spec.scheduler_name == NAME
            and not new.metadata.deletion_timestamp
            and not new.spec.scheduling_gates
            and (old is None or old.spec != new.spec or old.metadata.labels != new.metadata.labels)
        ):
            self._queue.add(key_of(new))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or _matters(old) != _matters(new):
            self._retry_refused()

    def _retry_refused(self) -> None:
        for key in self._refused:
            self._queue.add(key)
        self._refused.clear()

    def _place(self, pod: Pod, node: str) -> None:
        uid = pod.metadata.uid
        before = self._placed.get(uid)
        if before is not None and before.node == node:
            self._placed[uid] = Placement(pod, node)
            return
        self._unplace(uid)
        self._placed[uid] = Placement(pod, node)
        self._total[node] += 1
        self._of_owner[node, owner_of(pod.metadata)] += 1
        if pod.spec.affinity and pod.spec.affinity.pod_anti_affinity:
            self._picky.add(uid)

    def _unplace(self, uid: str) -> bool:
        before = self._placed.pop(uid, None)
        if before is None:
            return False
        owned = (before.node, owner_of(before.pod.metadata))
        self._total[before.node] -= 1
        self._of_owner[owned] -= 1
        if not self._of_owner[owned]:
            del self._of_owner[owned]
        self._picky.discard(uid)
        return True

    async def _schedule(self, key: Key) -> None:
        pod = self._world.pods.get(*key)
        if pod is None or pod.spec.node_name or pod.metadata.deletion_timestamp:
            return
        if pod.metadata.uid in self._placed:
            return  # bound by us; the watch has not reported it yet
        chosen = self._choose(pod)
        if isinstance(chosen, Refused):
            self._refused.add(key)
            await self._tell_refused(pod, chosen.message)
            return
        self._place(pod, chosen)
        try:
            await self._bind(pod, chosen)
        except SteppeError as error:
            self._unplace(pod.metadata.uid)
            if not (isinstance(error, ApiError) and error.not_found):
                raise

    def _choose(self, pod: Pod) -> str | Refused:
        owner = owner_of(pod.metadata)
        load = {
            name: (self._of_owner[name, owner], self._total[name])
            for _, name in self._world.nodes.items
        }
        affinity = pod.spec.affinity
        if affinity and (affinity.pod_affinity or affinity.pod_anti_affinity):
            placements = list(self._placed.values())
        else:
            placements = [self._placed[uid] for uid in self._picky]
        return choose_node(
            pod,
            self._world.nodes.values(),
            load,
            placements=placements,
            namespace_labels=self._namespace_labels,
        )

    def _namespace_labels(self, name: str) -> dict[str, str]:
        namespace = self._world.namespaces.get("", name)
        return namespace.metadata.labels if namespace else {}

    async def _bind(self, pod: Pod, node: str) -> None:
        meta = pod.metadata
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._world.client.create(
            PODS, binding, meta.namespace, name=meta.name, subresource="binding"
        )
        self._say(pod, "Normal", "Scheduled", f"Successfully assigned {_path(pod)} to {node}")

    async def _tell_refused(self, pod: Pod, message: str) -> None:
        self._say(pod, "Warning", "FailedScheduling", message)
        known = condition(pod.status.conditions, "PodScheduled")
        if known is not None and known.status == "False" and known.message == message:
            return
        told = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": (known.last_transition_time if known else None)
            or dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        answer = await self._world.client.patch(
            PODS,
            pod.metadata.name,
            {"status": {"conditions": [told]}},
            pod.metadata.namespace,
            subresource="status",
            kind="strategic",  # other conditions are not ours
        )
        self._world.pods.note(msgspec.convert(answer, Pod))

    def _say(self, pod: Pod, type_: str, reason: str, message: str) -> None:
        meta = pod.metadata
        about = reference(PODS, meta.name, meta.namespace, meta.uid)
        self._world.events.event(about, type_, reason, message)


def _path(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _matters(node: Node) -> object:
    """The part of a node that scheduling uses, which is without heartbeats."""
    return (
        node.metadata.labels,
        node.spec,
        [(c.type, c.status) for c in node.status.conditions if c.type == "Ready"],
    )

"""One Kubelet object for each node, one informer for all, and cleaning up after earlier kubelets.

Hands each pod to its node's worker, and removes what belongs to no pod any more.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import AsyncGenerator

from steppe.client.client import Client
from steppe.client.events import EventRecorder
from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted, WatchEvent, watch
from steppe.client.resources import PODS
from steppe.errors import SteppeError
from steppe_lab import netns
from steppe_lab.kubelet import mounts
from steppe_lab.kubelet.config import LabConfig, NodeConfig
from steppe_lab.kubelet.containers import load_saved
from steppe_lab.kubelet.node import NodeReporter, renew_leases
from steppe_lab.kubelet.orders import Orders
from steppe_lab.kubelet.pod import Host, PodWorker
from steppe_lab.kubelet.prober import Prober
from steppe_lab.kubelet.process import Process
from steppe_lab.kubelet.records import Pod
from steppe_lab.kubelet.sandbox import Sandboxes, namespace_name
from steppe_lab.kubelet.threads import NamespaceThreads

log = logging.getLogger(__name__)

_WORKER_RETRY = 5.0


class Kubelet:
    """The pods of one node, by uid."""

    def __init__(self, host: Host, group: asyncio.TaskGroup) -> None:
        self._host = host
        self._group = group
        self._workers: dict[str, PodWorker] = {}

    @property
    def node(self) -> NodeConfig:
        return self._host.node

    def upsert(self, pod: Pod) -> None:
        """A pod of this node, new or changed."""
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        self._workers[uid] = worker = PodWorker(pod, self._host)
        self._group.create_task(self._work(uid, worker), name=f"pod {pod.key}")

    def remove(self, uid: str) -> None:
        """A pod that the API does not have any more."""
        if uid in self._workers:
            self._workers[uid].removed()

    def sweep(self, wanted: frozenset[str]) -> None:
        """After a list: end the workers of deleted pods, and remove leftovers without a worker."""
        for uid in set(self._workers) - wanted:
            self.remove(uid)
        if not self.node.pods.is_dir():
            return
        for folder in self.node.pods.iterdir():
            if folder.name not in wanted and folder.name not in self._workers:
                self._group.create_task(self._bury(folder.name), name=f"bury {folder.name}")

    async def _work(self, uid: str, worker: PodWorker) -> None:
        while True:
            try:
                await worker.run()
            except Exception:  # the boundary of a pod: an error in one must not affect the others
                log.exception("pod %s on %s: starting over", uid, self.node.name)
                await asyncio.sleep(_WORKER_RETRY)
            else:
                del self._workers[uid]
                return

    async def _bury(self, uid: str) -> None:
        """Stop the containers and remove the sandbox of a pod that is deleted from the API."""
        log.info("pod %s on %s is gone from the API: cleaning up", uid, self.node.name)
        folder = self.node.pod_dir(uid)
        for state in folder.glob("containers/*/state.json"):
            saved = load_saved(state.parent)
            process = Process.find(state.parent / saved.run) if saved.run else None
            if process is not None:
                process.signal(signal.SIGKILL)
                await process.wait()
        sandbox = self._host.sandboxes.find(uid)
        while sandbox is not None:
            try:
                await self._host.sandboxes.delete(sandbox)
            except SteppeError as error:
                log.warning("pod %s on %s: %s", uid, self.node.name, error)
                await asyncio.sleep(_WORKER_RETRY)
            sandbox = self._host.sandboxes.find(uid)
        shutil.rmtree(folder, ignore_errors=True)


async def run(client: Client, lab: LabConfig) -> None:
    """Run the kubelets of all nodes, until cancelled; pods keep running then."""
    template = mounts.template()
    try:
        with NamespaceThreads() as threads:
            async with asyncio.TaskGroup() as group:
                reporters = {}
                kubelets = {}
                for node in lab.nodes:
                    host = _host(lab, node, client, threads, template)
                    reporter = NodeReporter(node, client, threads, host.sandboxes)
                    group.create_task(host.events.run(), name=f"events {node.name}")
                    group.create_task(reporter.run(), name=f"node {node.name}")
                    reporters[node.name] = reporter
                    kubelets[node.name] = Kubelet(host, group)
                group.create_task(renew_leases(client, reporters), name="leases")
                pods = watch(client, PODS, Pod)
                async with contextlib.aclosing(pods):
                    await _dispatch(pods, kubelets, lab)
    finally:
        os.close(template)


def _host(
    lab: LabConfig, node: NodeConfig, client: Client, threads: NamespaceThreads, template: int
) -> Host:
    return Host(
        node=node,
        client=client,
        orders=Orders(lab.lab, node, lab.dns_of(node), client),
        threads=threads,
        prober=Prober(threads),
        template=template,
        sandboxes=Sandboxes(lab.lab, node, threads),
        events=EventRecorder(client, "kubelet", node.name),
    )


async def _dispatch(
    events: AsyncGenerator[WatchEvent[Pod], None], kubelets: dict[str, Kubelet], lab: LabConfig
) -> None:
    """Hand each pod to the kubelet of its node."""
    async for event in events:
        match event:
            case Replaced(items=pods, unreadable=unreadable):
                for each in unreadable:
                    log.warning("pod %s/%s: %s", each.namespace, each.name, each.error)
                _replace(pods, kubelets)
                _sweep_namespaces(lab, pods)
            case Upserted(item=pod):
                if pod.spec.node_name in kubelets:
                    kubelets[pod.spec.node_name].upsert(pod)
            case Deleted(item=pod):
                if pod.spec.node_name in kubelets:
                    kubelets[pod.spec.node_name].remove(pod.metadata.uid)
            case Unreadable():
                log.warning("pod %s/%s: %s", event.namespace, event.name, event.error)


def _replace(pods: tuple[Pod, ...], kubelets: dict[str, Kubelet]) -> None:
    here: dict[str, set[str]] = {name: set() for name in kubelets}
    for pod in pods:
        if pod.spec.node_name in kubelets:
            here[pod.spec.node_name].add(pod.metadata.uid)
            kubelets[pod.spec.node_name].upsert(pod)
    for name, kubelet in kubelets.items():
        kubelet.sweep(frozenset(here[name]))


def _sweep_namespaces(lab: LabConfig, pods: tuple[Pod, ...]) -> None:
    """Remove pod namespaces without a record."""
    kept = {namespace_name(lab.lab, pod.metadata.uid) for pod in pods}
    for node in lab.nodes:
        kept |= {namespace_name(lab.lab, path.parent.name) for path in node.pods.glob("*/*.json")}
    for name in netns.namespaces_of_lab(lab.lab):
        if name.startswith(netns.namespace(lab.lab, "pod-")) and name not in kept:
            netns.delete(name)

"""A node in the API: the Node object, its conditions, and the Lease that says it is alive.

Ready waits for the container network, as with containerd: a CNI configuration must be there, and
the plugin's STATUS must not object.
"""

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.resources import LEASES, NODES
from steppe.errors import SteppeError
from steppe_lab.kubelet.cniconf import load_first
from steppe_lab.kubelet.config import NodeConfig
from steppe_lab.kubelet.sandbox import Sandboxes
from steppe_lab.kubelet.status import timestamp
from steppe_lab.kubelet.threads import NamespaceThreads

log = logging.getLogger(__name__)

KUBELET_VERSION = "v1.33.0-steppe-lab"
LEASE_NAMESPACE = "kube-node-lease"
# kubelet's nodeLeaseDurationSeconds; it renews every quarter of that.
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
MAX_PODS = 110

# How often a node looks for its CNI configuration, and asks the plugin for its STATUS.
_LOOK_SECONDS = 0.25
_STATUS_BAD_SECONDS = 1.0
_STATUS_GOOD_SECONDS = 60.0
# "nodeStatusReportFrequency … default: 5m", when nothing changes.
_REPORT_SECONDS = 300.0
# "nodeStatusUpdateFrequency … default: 10s": how often kubelet compares the Node with itself.
_COMPARE_SECONDS = 10.0

_NOT_INITIALIZED = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:"
)
_FINE = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Json = dict[str, Any]


class NodeReporter:
    """Keeps one Node object and its conditions up to date."""

    def __init__(
        self, node: NodeConfig, client: Client, threads: NamespaceThreads, sandboxes: Sandboxes
    ) -> None:
        self._node = node
        self._client = client
        self._threads = threads
        self._sandboxes = sandboxes
        self._began = self._since = time.time()
        self._ready: bool | None = None
        self._uid = ""

    @property
    def uid(self) -> str:
        return self._uid

    async def run(self) -> None:
        """Register, then report for ever."""
        await self._insist(self._register)
        problem: str | None = ""
        reported = compared = 0.0
        asked: tuple[float, int] = (0.0, 0)
        while True:
            wait = _STATUS_GOOD_SECONDS if problem is None else _STATUS_BAD_SECONDS
            stamp = _stamp(Path(self._node.cni_conf))
            if stamp != asked[1] or time.monotonic() - asked[0] > wait:
                asked = time.monotonic(), stamp
                new = await self._network_problem()
                if new != problem or time.monotonic() - reported > _REPORT_SECONDS:
                    problem = new
                    await self._insist(partial(self._report, problem))
                    reported = compared = time.monotonic()
            if time.monotonic() - compared > _COMPARE_SECONDS:
                await self._insist(partial(self._restore, problem))
                compared = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _network_problem(self) -> str | None:
        """Why the node's network cannot take pods; None if it can."""
        try:
            network = load_first(Path(self._node.cni_conf))
            if network is None:
                return f"{_NOT_INITIALIZED} cni plugin not initialized"
            status = partial(self._sandboxes.cni.status, network)
            await self._threads.run(self._node.netns, status)
        except (SteppeError, OSError) as error:
            return f"{_NOT_INITIALIZED} {error}"
        return None

    async def _register(self) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._node.name, "labels": labels(self._node)},
            "spec": {},
            "status": status(self._node),
        }
        try:
            made = await self._client.create(NODES, body)
        except ApiError as error:
            if not error.already_exists:
                raise
            patch = {"metadata": {"labels": labels(self._node)}}
            made = await self._client.patch(NODES, self._node.name, patch)
        self._uid = made["metadata"]["uid"]

    async def _report(self, problem: str | None) -> None:
        now = time.time()
        if (problem is None) != self._ready:
            self._ready, self._since = problem is None, now
        seen = status(self._node)
        # A list of addresses merges by type, which a dual-stack node has twice: as kubelet does
        # (k8s.io/component-helpers, PatchNodeStatus), we have the whole list replaced.
        seen["addresses"] = [*seen["addresses"], {"$patch": "replace"}]
        body = {"status": seen | {"conditions": self._conditions(problem, now)}}
        try:
            await self._client.patch(
                NODES, self._node.name, body, subresource="status", kind="strategic"
            )
        except ApiError as error:
            if not error.not_found:
                raise
            await self._register()  # someone deleted the Node; a kubelet comes back
            await self._client.patch(
                NODES, self._node.name, body, subresource="status", kind="strategic"
            )

    async def _restore(self, problem: str | None) -> None:
        """Report again if someone else changed a condition: after a late Lease it is Unknown."""
        try:
            node = await self._client.get(NODES, self._node.name)
        except ApiError as error:
            if not error.not_found:
                raise
            node = {}
        conditions = node.get("status", {}).get("conditions", ())
        ready = "True" if problem is None else "False"
        if not any(c["type"] == "Ready" and c["status"] == ready for c in conditions):
            await self._report(problem)

    def _conditions(self, problem: str | None, now: float) -> list[Json]:
        found = [
            _condition(kind, "False", why, text) | _times(now, self._began)
            for kind, why, text in _FINE
        ]
        if problem is None:
            text = "kubelet is posting ready status"
            ready = _condition("Ready", "True", "KubeletReady", text)
        else:
            ready = _condition("Ready", "False", "KubeletNotReady", problem)
        return [*found, ready | _times(now, self._since)]

    async def _insist(self, action: Callable[[], Awaitable[None]]) -> None:
        """Retry until the API server accepts it."""
        while True:
            try:
                await action()
            except SteppeError as error:
                log.warning("node %s: %s", self._node.name, error)
                await asyncio.sleep(1.0)
            else:
                return


def labels(node: NodeConfig) -> dict[str, str]:
    """What kubelet sets on its node, and what the lab adds about topology."""
    architecture = _architecture()
    return {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": architecture,
        **node.labels,
    }


def status(node: NodeConfig) -> Json:
    """All of a Node's status but its conditions."""
    resources = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "20Gi", "pods": str(MAX_PODS)}
    addresses = [{"type": "InternalIP", "address": str(ip_address(a))} for a in node.addresses]
    machine = _read("/etc/machine-id")
    return {
        "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
        "capacity": resources,
        "allocatable": resources,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": {
            "machineID": machine,
            "systemUUID": machine,
            "bootID": _read("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": platform.release(),
            "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
            "containerRuntimeVersion": "steppe-lab://0.1.0",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": _architecture(),
        },
    }


async def renew_leases(client: Client, reporters: dict[str, NodeReporter]) -> None:
    """Renew the Leases of all nodes in one loop, until cancelled."""
    known: set[str] = set()
    while True:
        began = time.monotonic()
        for name, reporter in reporters.items():
            try:
                await _renew(client, name, reporter.uid, known)
            except SteppeError as error:
                log.warning("lease of node %s not renewed: %s", name, error)
        await asyncio.sleep(max(1.0, RENEW_SECONDS - (time.monotonic() - began)))


async def _renew(client: Client, name: str, uid: str, known: set[str]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
    if name in known:
        try:
            await client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
        except ApiError as error:
            known.discard(name)
            if not error.not_found:
                raise
        return
    if not uid:
        return  # a Lease is owned by its Node, which is not registered yet
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": spec,
    }
    try:
        await client.create(LEASES, body, LEASE_NAMESPACE)
    except ApiError as error:
        if not error.already_exists:
            raise
        await client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
    known.add(name)


def _condition(kind: str, value: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": value, "reason": reason, "message": message}


def _times(now: float, since: float) -> Json:
    return {"lastHeartbeatTime": timestamp(now), "lastTransitionTime": timestamp(since)}


def _stamp(folder: Path) -> int:
    """Changes whenever a file in the folder appears, goes or is replaced."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)

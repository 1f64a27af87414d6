"""The cluster as a whole: made, asked, swept away."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.kubernetes.harness import cgroups, images, lan
from tests.kubernetes.harness.api import Api
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.embedded import EmbeddedPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.installed import Installed
from tests.kubernetes.harness.node import Node
from tests.kubernetes.harness.processes import wait
from tests.kubernetes.harness.settings import PREFIX, Settings


class Cluster:
    """One at a time on a machine, by a lock. `plane` is the real control plane or the embedded."""

    def __init__(
        self,
        settings: Settings,
        plane: type[ControlPlane | EmbeddedPlane],
        say: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._say = say
        self._lock = hold()
        sweep()
        shutil.rmtree(settings.state / "control-plane", ignore_errors=True)
        settings.state.mkdir(parents=True, exist_ok=True)
        self.nodes = {name: Node(settings, name) for name in settings.names}
        self.plane = plane(settings)

    @property
    def api(self) -> Api:
        return self.plane.api

    def start(self) -> None:
        """Return when pods can start on every node."""
        real = self.plane.kubelets
        made = images.prepared if real else images.pause_alone
        pause, archive = made(self.settings, self._say)
        begun = time.monotonic()
        lan.make()
        for node in self.nodes.values():
            node.make(pause)
            node.start_containerd()
            node.import_images(archive)
        self._step("containerd runs on every node", begun)
        self.plane.start()
        self._step("the control plane is up", begun)
        begun = time.monotonic()
        for node in self.nodes.values():
            if isinstance(self.plane, ControlPlane) and real:
                self.plane.start_kubelet(node)
            else:
                self._register(node)
            if self.plane.runs_agents:
                node.start_agent(self.plane.agent)
        since = "the first kubelet or agent"
        if isinstance(self.plane, Installed):
            begun, since = self._installed(self.plane), "the installation"
        wait(self._nodes_ready if real else self._agents_ready, 120, "every node is ready")
        self._step(f"every node is ready, counted from {since}", begun)
        for name in self.nodes:
            for prefix in self.api.get(f"/api/v1/nodes/{name}")["spec"]["podCIDRs"]:
                lan.route(name, prefix)

    def _installed(self, plane: Installed) -> float:
        """Install Steppe on nodes that wait for a network; when that began."""
        plane.prepare(self.nodes)
        wait(self._registered, 120, "every kubelet has registered its node")
        begun = time.monotonic()
        plane.install()
        return begun

    def restart_agent(self, node: str) -> None:
        """After a crash; a kubelet does it by itself."""
        if self.plane.runs_agents:
            self.nodes[node].start_agent(self.plane.agent)

    def kubectl(self, *argv: str | Path, check: bool = True) -> str:
        if not isinstance(self.plane, ControlPlane):
            raise HarnessError("this cluster has no kubectl")
        return self.plane.kubectl(*argv, check=check)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()
        self.plane.stop()
        sweep()
        os.close(self._lock)

    def _register(self, node: Node) -> None:
        """What a kubelet tells of its node."""
        listed = [{"type": "InternalIP", "address": one} for one in node.addresses]
        meta = {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}}
        item = {"apiVersion": "v1", "kind": "Node", "metadata": meta}
        self.api.post("/api/v1/nodes", item)
        self.api.patch(f"/api/v1/nodes/{node.name}/status", {"status": {"addresses": listed}})

    def _agents_ready(self) -> bool:
        return all(node.agent_ready() for node in self.nodes.values())

    def _registered(self) -> bool:
        return len(self.api.get("/api/v1/nodes")["items"]) == len(self.nodes)

    def _nodes_ready(self) -> bool:
        ready = [
            node
            for node in self.api.get("/api/v1/nodes")["items"]
            for one in node["status"].get("conditions", ())
            if one["type"] == "Ready" and one["status"] == "True"
        ]
        return len(ready) == len(self.nodes)

    def _step(self, what: str, begun: float) -> None:
        self._say(f"{what} ({time.monotonic() - begun:.1f} s)")


def hold() -> int:
    """The lock on the one cluster of this machine; HarnessError if another process has it."""
    path = Path("/run/lock") / f"{PREFIX}.lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise HarnessError(f"a cluster runs already (it holds {path})") from None
    return lock


def sweep() -> None:
    """End and remove whatever has a name of the harness. HarnessError if something stays."""
    lan.remove()
    stay = cgroups.remove()
    lan.remove()
    if left := [*lan.namespaces(), *map(str, stay)]:
        raise HarnessError(f"cannot remove {', '.join(left)}")

"""The cluster as a whole: made, asked, swept away."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kubernetes.harness import cgroups, images, lan
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.node import Node
from tests.kubernetes.harness.processes import wait
from tests.kubernetes.harness.settings import API, PREFIX, Settings

_ROLES = Path(__file__).with_name("roles.yaml")


class Cluster:
    """One at a time on a machine, by a lock."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._say = say
        self._lock = hold()
        sweep()
        settings.state.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(settings.state / "control-plane", ignore_errors=True)
        self.nodes = {name: Node(settings, name) for name in settings.names}
        self.plane: ControlPlane | None = None
        self.took: dict[str, float] = {}

    def start(self) -> None:
        begun = time.monotonic()
        pause, archive = images.prepared(self.settings, self._say)
        self._step("images are there", begun)
        begun = time.monotonic()
        lan.make()
        self.plane = ControlPlane(self.settings)
        for node in self.nodes.values():
            node.make(pause)
            node.start_containerd()
            node.import_images(archive)
        self._step("containerd runs on every node", begun)
        self.plane.start()
        self._step("control plane is up", begun)
        self.plane.kubectl("apply", "--filename", _ROLES)
        self.plane.start_steppe_controller()
        begun = time.monotonic()
        authority = self.plane.authority
        for name, node in self.nodes.items():
            user = (f"kubelet-{name}", API, f"system:node:{name}", "system:nodes")
            node.start_kubelet(authority.kubeconfig(*user), authority.folder / "ca.crt")
        self._step("kubelets started", begun)
        agent = authority.kubeconfig("steppe-agent", API, "steppe-agent")
        for node in self.nodes.values():
            node.start_agent(agent)
        wait(self.ready, 120, "every node Ready")
        self._step("every node Ready", begun)
        for name in self.nodes:
            for prefix in self.get("node", name)["spec"]["podCIDRs"]:
                lan.route(name, prefix)

    def restart_agent(self, node: str) -> None:
        self.nodes[node].start_agent(self._plane.authority.folder / "steppe-agent.kubeconfig")

    def ready(self) -> bool:
        answer = self.kubectl("get", "nodes", "--output=json", check=False)
        nodes = json.loads(answer or "{}").get("items", [])
        good = [
            node
            for node in nodes
            for one in node["status"].get("conditions", ())
            if one["type"] == "Ready" and one["status"] == "True"
        ]
        return len(good) == len(self.nodes)

    def kubectl(self, *argv: str | Path, check: bool = True) -> str:
        return self._plane.kubectl(*argv, check=check)

    def get(self, *argv: str) -> dict[str, Any]:
        """An object of the API."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *argv, "--output=json"))
        return answer

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()
        if self.plane is not None:
            self.plane.stop()
        sweep()
        os.close(self._lock)

    @property
    def _plane(self) -> ControlPlane:
        if self.plane is None:
            raise HarnessError("the cluster has not been started")
        return self.plane

    def _step(self, what: str, begun: float) -> None:
        self.took[what] = time.monotonic() - begun
        self._say(f"{what} ({self.took[what]:.1f} s)")


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

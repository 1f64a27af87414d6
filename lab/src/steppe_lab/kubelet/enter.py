"""How to get into a running container, and where its log is: for `steppe lab exec` and `logs`."""

from pathlib import Path

import msgspec

from steppe.errors import SteppeError
from steppe_lab.kubelet.config import NodeConfig, load_lab
from steppe_lab.kubelet.containers import load_saved
from steppe_lab.kubelet.namespaced import inside
from steppe_lab.kubelet.process import Process
from steppe_lab.kubelet.sandbox import Sandbox
from steppe_lab.kubelet.threads import netns_path


class NoSuchContainer(SteppeError):  # noqa: N818  reads as what it is
    """The pod or container is not running in this lab."""


def enter_command(lab_dir: Path, namespace: str, pod: str, container: str = "") -> tuple[str, ...]:
    """What to put before a command line to run it in a container, by default the pod's first.

    A pod whose container has no process right now still has a network: then only that is entered.
    """
    node, sandbox = _find(lab_dir, namespace, pod)
    name = _container(sandbox, container)
    saved = load_saved(container_dir(node, sandbox.uid, name))
    if saved.run:
        process = Process.find(container_dir(node, sandbox.uid, name) / saved.run)
        if process is not None:
            process.close()
            return inside(process.pid, saved.working_dir, saved.env, ())
    return ("nsenter", f"--net={netns_path(sandbox.netns)}", "--")


def log_path(lab_dir: Path, namespace: str, pod: str, container: str = "") -> Path:
    """The file a container's output goes to, all its runs one after the other."""
    node, sandbox = _find(lab_dir, namespace, pod)
    return container_log(node, sandbox.uid, _container(sandbox, container))


def container_dir(node: NodeConfig, uid: str, container: str) -> Path:
    """Where a container's runs are remembered."""
    return node.pod_dir(uid) / "containers" / container


def container_log(node: NodeConfig, uid: str, container: str) -> Path:
    return node.pod_dir(uid) / f"{container}.log"


def _find(lab_dir: Path, namespace: str, pod: str) -> tuple[NodeConfig, Sandbox]:
    for node in load_lab(lab_dir).nodes:
        for path in node.pods.glob("*/sandbox.json"):
            try:
                sandbox = msgspec.json.decode(path.read_bytes(), type=Sandbox)
            except (FileNotFoundError, msgspec.MsgspecError):
                continue  # it ends at this moment, or was written half before a crash
            if (sandbox.namespace, sandbox.pod) == (namespace, pod):
                return node, sandbox
    raise NoSuchContainer(
        f"pod {namespace}/{pod} does not run in this lab; `kubectl get pods -A` shows those that do"
    )


def _container(sandbox: Sandbox, container: str) -> str:
    if not container:
        return sandbox.containers[0]
    if container not in sandbox.containers:
        raise NoSuchContainer(
            f"pod {sandbox.namespace}/{sandbox.pod} has no container {container!r};"
            f" it has {', '.join(sandbox.containers)}"
        )
    return container

"""Numbers of a real cluster: an agent's memory, and a CNI ADD beside the reference plugins'."""

import sys
from collections.abc import Callable
from typing import Any

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.workload import INSIDE, PODS, SERVICES
from tests.waiting import until

SERVICES_MADE = 500
PODS_MADE = 100
"""On one node; a kubelet takes 110, Steppe's own pods among them."""
ATTACHMENTS = 40
_PAUSE = "registry.k8s.io/pause:3.10.2"


def measure(cluster: Cluster, say: Callable[[str], None]) -> None:
    """On the first node: idle, and with pods and Services; what is found is said."""
    name, node = next(iter(cluster.nodes.items()))
    say(f"agent's memory, idle: {memory(cluster, name)}")
    reference = cluster.settings.binaries / "cni"
    timed = (sys.executable, INSIDE / "cni_time.py", reference, str(ATTACHMENTS))
    say(f"CNI, idle, ms: {node.run(*timed)}")
    for number in range(SERVICES_MADE):
        cluster.api.post(SERVICES, _service(number))
    for number in range(PODS_MADE):
        cluster.api.post(PODS, _pod(number, name))

    def running() -> bool:
        found = cluster.api.get(PODS)["items"]
        return sum(each["status"].get("phase") == "Running" for each in found) == PODS_MADE

    until(running, 900, f"{PODS_MADE} pods run on {name}")
    say(f"agent's memory, {SERVICES_MADE} Services, {PODS_MADE} pods: {memory(cluster, name)}")
    say(f"CNI, with these, ms: {node.run(*timed)}")


def memory(cluster: Cluster, node: str) -> str:
    """Of the agent, in MB: resident, and its own share of it (proportional set size)."""
    inside = cluster.nodes[node]
    (pid,) = inside.run("pgrep", "--full", "--", "-m steppe[.]agent --").split()
    lines = inside.run("cat", f"/proc/{pid}/smaps_rollup").splitlines()[1:]
    held = {key: int(value.split()[0]) for key, _, value in (x.partition(":") for x in lines)}
    return ", ".join(f"{key} {held[key] / 1000:.0f} MB" for key in ("Rss", "Pss"))


def _service(number: int) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"service-{number}"},
        "spec": {
            "ipFamilyPolicy": "RequireDualStack",
            "selector": {"number": str(number % PODS_MADE)},
            "ports": ports,
        },
    }


def _pod(number: int, node: str) -> dict[str, Any]:
    container = {"name": "pause", "image": _PAUSE}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "labels": {"number": str(number)}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }

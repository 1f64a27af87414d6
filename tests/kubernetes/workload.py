"""What the tests ask the cluster with: a client on the first node, servers on the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.images import AGNHOST
from tests.kubernetes.harness.node import Node

INSIDE = Path(__file__).with_name("inside")
PORT = 8080
LATE = 8099
"""Where half_closed.py listens, in the pod of the first server."""


@dataclass(frozen=True)
class Pod:
    name: str
    node: Node
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Workload:
    cluster: Cluster
    client: Pod
    servers: tuple[Pod, ...]

    def asks(self, address: str, port: int = PORT) -> str:
        """What the client is answered; "" if nothing within two seconds."""
        at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        ask = ("curl", "--silent", "--max-time", "2", f"http://{at}/hostname")
        return self.cluster.kubectl("exec", self.client.name, "--", *ask, check=False)

    def service(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.cluster.get("service", name)["spec"]
        return answer


def started(cluster: Cluster) -> Workload:
    """Return once all pods are Ready and have an address of each family."""
    first, *others = cluster.nodes
    pods = {"client": first} | {f"server-{node}": node for node in others}
    objects = [_pod(name, node) for name, node in pods.items()]
    objects += [_service("web", {"app": "server"}, PORT, "NodePort")]
    objects += [_service("late", {"pod": f"server-{others[0]}"}, LATE, "ClusterIP")]
    path = cluster.settings.state / "workload.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    cluster.kubectl("apply", "--filename", path)
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=180s")
    found = []
    for name, node in pods.items():
        listed = cluster.get("pod", name)["status"]["podIPs"]
        found.append(Pod(name, cluster.nodes[node], tuple(one["ip"] for one in listed)))
    return Workload(cluster, found[0], tuple(found[1:]))


def _pod(name: str, node: str) -> dict[str, Any]:
    serves = name != "client"
    args = ["netexec", f"--http-port={PORT}"] if serves else ["pause"]
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    container = {"name": "agnhost", "image": AGNHOST, "args": args}
    container |= {"readinessProbe": probe} if serves else {}
    labels = {"pod": name, "app": "server" if serves else "client"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }


def _service(name: str, selector: dict[str, str], port: int, kind: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": kind,
            "ipFamilyPolicy": "RequireDualStack",
            "selector": selector,
            "ports": [{"port": port, "targetPort": port}],
        },
    }

"""What the tests ask the cluster with: a client on the first node, servers on the others."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.images import AGNHOST
from tests.kubernetes.harness.node import Node
from tests.waiting import until

INSIDE = Path(__file__).with_name("inside")
PORT = 8080
LATE = 8099
"""Where half_closed.py listens, in the pod of the first server."""
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


@dataclass(frozen=True)
class Pod:
    name: str
    node: Node
    addresses: tuple[str, ...]
    sandbox: str = ""
    """Its number at the runtime, if the harness asked for it."""

    def runs(self, *argv: str | Path) -> list[str]:
        """The command that runs a program of this machine in the pod's network namespace."""
        return self.node.in_pod(self.addresses[0], *argv)


class Traffic:
    """Connections that go on while something is done to the cluster."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running
        self._begun = time.monotonic()

    def ended(self, *, at_least: int) -> dict[str, Any]:
        """End it, not before as many connections as this were made; what inside/traffic.py says."""
        enough = self._begun + 1.1 * at_least / 100
        until(lambda: time.monotonic() > enough or self._running.poll() is not None, 600, "traffic")
        assert self._running.poll() is None, "traffic ended before it should"
        said, _ = self._running.communicate()
        result: dict[str, Any] = json.loads(said)
        assert result["made"] >= at_least, result
        return result


@dataclass(frozen=True)
class Workload:
    cluster: Cluster
    client: Pod
    servers: tuple[Pod, ...]

    def asks(self, address: str, port: int = PORT) -> str:
        """What the client is answered; "" if nothing within two seconds."""
        at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        ask = ("curl", "--silent", "--max-time", "2", f"http://{at}/hostname")
        argv = self.client.runs(*ask)
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    @contextlib.contextmanager
    def traffic(self) -> Iterator["Traffic"]:
        """100 connections a second from the client, to the Service and to each server."""
        targets = [f"[{one}]:{PORT}" for one in self.service("web")["clusterIPs"]]
        targets += [f"[{one}]:{PORT}" for server in self.servers for one in server.addresses]
        program = (sys.executable, INSIDE / "traffic.py", "600", "100", *targets)
        pipe = subprocess.PIPE
        argv = self.client.runs(*program)
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as running:
            try:
                yield Traffic(running)
            finally:
                running.kill()

    def service(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.cluster.api.get(f"{SERVICES}/{name}")["spec"]
        return answer


def started(cluster: Cluster) -> Workload:
    """Return once all pods have an address of each family, and the servers answer."""
    first, *others = cluster.nodes
    placed = {"client": first} | {f"server-{node}": node for node in others}
    for item in (
        _service("web", {"app": "server"}, PORT, "NodePort"),
        _service("late", {"pod": f"server-{others[0]}"}, LATE, "ClusterIP"),
    ):
        cluster.api.post(SERVICES, item)
    found = [run_pod(cluster, name, node) for name, node in placed.items()]
    made = Workload(cluster, found[0], tuple(found[1:]))
    if not cluster.plane.kubelets:
        _publish(cluster, "web", PORT, made.servers)
        _publish(cluster, "late", LATE, made.servers[:1])
    for pod in made.servers:
        until(lambda pod=pod: made.asks(pod.addresses[0]), 60, f"{pod.name} answers")
    return made


def run_pod(cluster: Cluster, name: str, node: str) -> Pod:
    """Return when it has its addresses."""
    cluster.api.post(PODS, _pod(name, node))
    follow = _awaited if cluster.plane.kubelets else _run
    return follow(cluster, name, cluster.nodes[node])


def end_pod(cluster: Cluster, pod: Pod) -> None:
    """Its object goes, and its sandbox by the kubelet or the harness."""
    if pod.sandbox:
        pod.node.run(cluster.settings.kubernetes("sandbox"), "end", pod.sandbox)
    cluster.api.delete(f"{PODS}/{pod.name}")


def _awaited(cluster: Cluster, name: str, node: Node) -> Pod:
    """A pod that a kubelet runs."""

    def status() -> dict[str, Any]:
        answer: dict[str, Any] = cluster.api.get(f"{PODS}/{name}")["status"]
        return answer

    def ready() -> bool:
        conditions = {one["type"]: one["status"] for one in status().get("conditions", ())}
        return conditions.get("Ready") == "True"

    until(ready, 180, f"pod {name} is Ready")
    return Pod(name, node, tuple(one["ip"] for one in status()["podIPs"]))


def _run(cluster: Cluster, name: str, node: Node) -> Pod:
    """A pod whose sandbox the harness asks for, and what a kubelet would tell of it."""
    uid = cluster.api.get(f"{PODS}/{name}")["metadata"]["uid"]
    program = cluster.settings.kubernetes("sandbox")
    sandbox, *addresses = node.run(program, "run", "default", name, uid).split()
    told = {
        "phase": "Running",
        "podIP": addresses[0],
        "podIPs": [{"ip": one} for one in addresses],
        "hostIP": node.addresses[0],
        "hostIPs": [{"ip": one} for one in node.addresses],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    cluster.api.patch(f"{PODS}/{name}/status", {"status": told})
    pod = Pod(name, node, tuple(addresses), sandbox)
    if name.startswith("server"):
        serves = pod.runs(sys.executable, INSIDE / "web.py", str(PORT), name)
        node.serve_outside(f"web-{name}", serves)
    return pod


def _publish(cluster: Cluster, service: str, port: int, pods: tuple[Pod, ...]) -> None:
    """The Service's EndpointSlices, as the controller manager would write them."""
    for number, family in enumerate(("IPv4", "IPv6")):
        ends = [
            {
                "addresses": [pod.addresses[number]],
                "nodeName": pod.node.name,
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": pod.name},
            }
            for pod in pods
        ]
        labels = {"kubernetes.io/service-name": service}
        item = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-{family.lower()}", "labels": labels},
            "addressType": family,
            "endpoints": ends,
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        }
        cluster.api.post(SLICES, item)


def _pod(name: str, node: str) -> dict[str, Any]:
    serves = name.startswith("server")
    args = ["netexec", f"--http-port={PORT}"] if serves else ["pause"]
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    container: dict[str, Any] = {"name": "agnhost", "image": AGNHOST, "args": args}
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

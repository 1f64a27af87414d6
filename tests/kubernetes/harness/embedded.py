"""The embedded API server in the control plane's place: for the runtime alone, without kubelets.

It needs no program of Kubernetes. Nodes and pods become objects by the harness, and the pods'
sandboxes are asked for by the runtime's own interface (sandbox/), as a kubelet would.
"""

import base64
import sys

import yaml

from steppe_lab.manifests import STATUS_NAMESPACE
from tests.kubernetes.harness.api import Api
from tests.kubernetes.harness.processes import Server, wait
from tests.kubernetes.harness.settings import API, LAN, LAN4, PODS, Settings


class EmbeddedPlane:
    """`python -m steppe_lab.apiserver` and Steppe's controller, in the LAN's network namespace."""

    kubelets = False
    runs_agents = True

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.state / "control-plane"
        self.agent = self.folder / "api" / "admin.kubeconfig"
        self._servers: list[Server] = []

    def start(self) -> None:
        port = API.rpartition(":")[2]
        where = ("--data", self.folder / "api", "--listen", f"{LAN4}.1", "--port", port)
        self._serve("apiserver", "steppe_lab.apiserver", *where)
        wait(self.agent.exists, 60, "the embedded API server", *self._servers)
        document = yaml.safe_load(self.agent.read_text())
        authority = self.folder / "ca.crt"
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority.write_bytes(_decoded(cluster["certificate-authority-data"]))
        token = f"Authorization: Bearer {user['token']}"
        self.api = Api("--cacert", authority, "--header", token)
        wait(self.api.ready, 60, "the embedded API server", *self._servers)
        self.api.post("/api/v1/namespaces", STATUS_NAMESPACE)
        prefixes = ("--pod-cidr4", PODS[0], "--pod-cidr6", PODS[1])
        self._serve("steppe-controller", "steppe.controller", "--kubeconfig", self.agent, *prefixes)

    def stop(self) -> None:
        while self._servers:
            self._servers.pop().stop()

    def _serve(self, name: str, module: str, *flags: object) -> None:
        argv = ("ip", "netns", "exec", LAN, sys.executable, "-P", "-m", module, *map(str, flags))
        self._servers.append(Server(argv, self.folder / "log" / f"{name}.log"))


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)

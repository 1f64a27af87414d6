"""A network namespace that stands for a node, with an API server in it.

What pods of the node mount from it is in a folder of the test's.
"""

import base64
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from steppe.client.resources import NODES
from tests.apiserver.cluster import Server
from tests.deploy.container import Running, spec
from tests.deploy.manifest import documents
from tests.waiting import patience, until

NODE = "node-a"
ADDRESSES = ("192.0.2.11/24", "2001:db8::11/64")
ROUTERS = ("192.0.2.1", "2001:db8::1")
CONFLIST = "10-steppe.conflist"


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=patience(60)
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Node:
    """A network namespace with a link, an API server in it, and folders for what pods mount."""

    def __init__(self, folder: Path) -> None:
        self.name = f"st-img-{uuid.uuid4().hex[:6]}"
        self.pod = f"{self.name}-pod"
        self.folder = folder
        self.places = {
            "/run/steppe": folder / "run",
            "/opt/cni/bin": folder / "cni-bin",
            "/etc/cni/net.d": folder / "cni-conf",
        }
        self.account = folder / "account"
        self.server = _ServerIn(self.name, folder / "api")

    def start(self) -> None:
        for place in (*self.places.values(), self.account):
            place.mkdir(parents=True)
        # As a release archive of the CNI plugins leaves it.
        os.chown(self.places["/opt/cni/bin"], 1001, 1001)
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p")
        for link in ("eth0", "eth0p"):
            self.run("ip", "link", "set", link, "up")
        for address in ADDRESSES:
            self.run("ip", "address", "add", address, "dev", "eth0", "nodad")
        for router in ROUTERS:
            self.run("ip", "route", "add", "default", "via", router, "dev", "eth0")
        self.server.start()

    def run(self, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.name, *command, check=check)

    def kubectl(self, *arguments: str) -> str:
        return self.run("kubectl", f"--kubeconfig={self.server.kubeconfig}", *arguments)

    def register(self) -> None:
        """The Node, as its kubelet makes it, and the manifest's namespaces."""
        node: dict[str, Any] = {"apiVersion": NODES.api_version, "kind": NODES.kind}
        node["metadata"] = {"name": NODE}
        namespaces = [each for each in documents() if each["kind"] == "Namespace"]
        path = self.folder / "objects.json"
        path.write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": [node, *namespaces]})
        )
        self.kubectl("apply", "-f", str(path))
        addresses = [{"type": "InternalIP", "address": each.split("/")[0]} for each in ADDRESSES]
        patch = json.dumps({"status": {"addresses": addresses}})
        self.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch)

    def pod_spec(self, kind: str, name: str, bundle: Path, user: str) -> dict[str, Any]:
        """A container of the manifest, with what kubelet would add: account and environment."""
        root = bundle / "rootfs"
        made = spec(kind, name, root=root, netns=self.name, places=self.places)
        credentials = self._credentials(user)
        made["mounts"].append(
            {
                "destination": "/var/run/secrets/kubernetes.io/serviceaccount",
                "type": "bind",
                "source": str(credentials),
                "options": ["bind", "ro"],
            }
        )
        host, _, port = self.server.url.removeprefix("https://").rpartition(":")
        given = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        given |= {"NODE_NAME": NODE, "PYTHONUNBUFFERED": "1", "PATH": "/usr/sbin:/usr/bin"}
        made["process"]["env"] = [f"{key}={value}" for key, value in given.items()]
        return made

    def _credentials(self, user: str) -> Path:
        folder = self.account / user
        folder.mkdir(exist_ok=True)
        rows = (self.server.data / "tokens.csv").read_text().splitlines()
        (token,) = (row.split(",")[0] for row in rows if row.split(",")[1] == user)
        (folder / "token").write_text(token)
        config = json.loads(self.kubectl("config", "view", "--raw", "-o", "json"))
        ca = config["clusters"][0]["cluster"]["certificate-authority-data"]
        (folder / "ca.crt").write_bytes(base64.b64decode(ca))
        (folder / "namespace").write_text("kube-system")
        return folder

    def running(self, kind: str, name: str, bundle: Path, *, without: str = "") -> Running:
        """A workload's container on this node; `without` one of its capabilities."""
        user = name.removeprefix("steppe-")
        folder = self.folder / user
        folder.mkdir()
        made = self.pod_spec(kind, name, bundle, user)
        for capabilities in made["process"]["capabilities"].values():
            capabilities[:] = [each for each in capabilities if each != f"CAP_{without}"]
        return Running(f"{self.name}-{user}", folder, made)

    def installed(self) -> bool:
        """Whether the agent has installed the plugin and its configuration."""
        return (self.places["/etc/cni/net.d"] / CONFLIST).exists()

    def cni(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a runtime does for a pod: it runs the program that the agent has installed."""
        conflist = json.loads((self.places["/etc/cni/net.d"] / CONFLIST).read_text())
        plugin = conflist["plugins"][0]
        # On a node this is where the agent's own folder is.
        plugin["socket"] = str(self.places["/run/steppe"] / "cni.sock")
        config = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **plugin}
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c1",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": f"/var/run/netns/{self.pod}",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=1",
        }
        return subprocess.run(
            [str(self.places["/opt/cni/bin"] / plugin["type"])],
            env=environment,
            input=json.dumps(config),
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(60),
        )

    def stop(self) -> None:
        if self.server.process is not None:
            self.server.stop()
        for name in run("ip", "netns", "list").split():
            if name.startswith(self.name):
                run("ip", "netns", "delete", name)


class _ServerIn(Server):
    """The embedded API server inside a namespace."""

    def __init__(self, netns: str, data: Path) -> None:
        super().__init__(data)
        self.netns = netns

    def start(self, *flags: str) -> None:
        self.data.mkdir(exist_ok=True)
        command = ["ip", "netns", "exec", self.netns, sys.executable, "-m", "steppe_lab.apiserver"]
        with (self.data / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data", str(self.data), *flags], stdout=log, stderr=log
            )
        until(self.kubeconfig.exists, 30, "the API server's kubeconfig")

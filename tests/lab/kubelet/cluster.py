"""A cluster for these tests: the embedded API server, one node, Debian's CNI plugins, a kubelet."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.errors import ApiError
from steppe.client.resources import EVENTS, NODES, PODS
from steppe_lab import netns
from tests.waiting import patience, until

REFERENCE = Path("/usr/lib/cni")
NODE_ADDRESSES = ("192.0.2.11", "2001:db8::11")

Json = dict[str, Any]


class Cluster:
    """One node, whose pods the reference plugins attach."""

    def __init__(self, folder: Path, lab: str) -> None:
        self.folder = folder
        self.lab = lab
        self.netns = netns.namespace(lab, "node-a")
        self.state = folder / "nodes/node-a"
        self.conf = self.state / "cni/net.d"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        netns.create((self.netns,))
        batch = ["link set lo up", *(f"address add {one} dev lo" for one in NODE_ADDRESSES)]
        subprocess.run(
            ["ip", "-n", self.netns, "-batch", "-"],
            input="\n".join(batch).encode(),
            check=True,
        )
        netns.inside(self.netns, _no_address_detection)
        self.conf.mkdir(parents=True)
        node = {
            "name": "node-a",
            "netns": self.netns,
            "addresses": NODE_ADDRESSES,
            "stateDir": str(self.state),
            "cniBin": str(REFERENCE),
            "cniConf": str(self.conf),
        }
        (self.folder / "nodes.json").write_text(json.dumps({"lab": self.lab, "nodes": [node]}))
        self._spawn(
            "api", "steppe_lab.apiserver", "--data", str(self.folder / "api"), "--port", "0"
        )
        until(self._kubeconfig.exists, 20, "an API server")
        self.start_kubelet()

    def start_kubelet(self) -> None:
        self._spawn(
            "kubelet",
            "steppe_lab.kubelet",
            *("--kubeconfig", str(self._kubeconfig), "--lab-dir", str(self.folder)),
        )

    @contextlib.contextmanager
    def kubelet_killed(self) -> Iterator[None]:
        """As kill -9 does, until the block ends."""
        process = self._processes.pop("kubelet")
        process.kill()
        process.wait()
        try:
            yield
        finally:
            self.start_kubelet()

    def stop(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(patience(20))

    def install_network(self, plugin: str = "ptp") -> None:
        """The conflist, written as an installer does: whole, or not at all."""
        ranges = [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd00:99::/64"}]]
        ipam = {"type": "host-local", "dataDir": str(self.folder / "ipam"), "ranges": ranges}
        document = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{"type": plugin, "ipam": ipam}],
        }
        new = self.conf / "new"
        new.write_text(json.dumps(document))
        new.rename(self.conf / "10-pods.conflist")

    def leases(self) -> list[str]:
        """The addresses that host-local has given out."""
        return [one.name for one in (self.folder / "ipam/pods").glob("[0-9f]*")]

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / "api/admin.kubeconfig"

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "STEPPE_LAB": self.lab},
            )

    # The API, one call at a time.

    def call(self, work: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
        async def body() -> Any:
            async with Client(load_config(str(self._kubeconfig))) as client:
                return await work(client)

        return asyncio.run(body())

    def create(self, name: str, *containers: Json, resource: Any = PODS, **spec: Any) -> str:
        """A pod on the node; its uid."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "node-a", "containers": list(containers), **spec},
        }
        made = self.call(lambda client: client.create(resource, body, "default"))
        return str(made["metadata"]["uid"])

    def delete(self, name: str, grace: int | None = None) -> None:
        self.call(lambda client: client.delete(PODS, name, "default", grace_period=grace))

    def pod(self, name: str) -> Json | None:
        try:
            found: Json = self.call(lambda client: client.get(PODS, name, "default"))
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return found

    def status(self, name: str) -> Json:
        found = self.pod(name)
        return found["status"] if found else {}

    def wait(self, name: str, condition: Callable[[Json], object], what: str) -> Json:
        """The pod's status, once the condition holds for it."""
        seen: list[Json] = []

        def met() -> bool:
            seen[:] = [self.status(name)]
            return bool(condition(seen[0]))

        try:
            until(met, 15, f"pod {name} {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(seen, indent=1)}\n{self.log()}") from error
        return seen[0]

    def wait_ready(self, name: str) -> Json:
        return self.wait(name, is_ready, "ready")

    def wait_gone(self, name: str, seconds: float = 15) -> None:
        until(lambda: self.pod(name) is None, seconds, f"pod {name} gone\n{self.log()}")

    def node_ready(self) -> Json:
        """The Ready condition; empty until the kubelet has registered its node."""
        nodes, _ = self.call(lambda client: client.list(NODES))
        conditions = [one for node in nodes for one in node["status"].get("conditions", ())]
        return next((one for one in conditions if one["type"] == "Ready"), {})

    def reasons(self, pod: str) -> set[str]:
        events, _ = self.call(lambda client: client.list(EVENTS, "default"))
        return {one["reason"] for one in events if one["involvedObject"]["name"] == pod}

    def log(self) -> str:
        return (self.folder / "kubelet.log").read_text()[-3000:]

    def output(self, uid: str, container: str = "c") -> str:
        path = self.state / "pods" / uid / f"{container}.log"
        return path.read_text() if path.exists() else ""


def _no_address_detection() -> None:
    # As on the lab's nodes: the first packets of a fresh pod would wait for it or be lost.
    for which in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{which}/accept_dad").write_text("0")


def is_ready(status: Json) -> bool:
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return conditions.get("Ready") == "True"


def container(*command: str, name: str = "c", **more: Any) -> Json:
    return {"name": name, "image": "none", "command": list(command), **more}


def shell(script: str, name: str = "c", **more: Any) -> Json:
    return container("sh", "-c", script, name=name, **more)

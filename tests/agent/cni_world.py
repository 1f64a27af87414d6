"""A node in a network namespace of its own, with pods' namespaces and the installed plugin."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steppe.agent.cni.install import install
from steppe_lab import netns

PREFIXES = "10.244.1.0/24,fd00:10:244:1::/64"
_MARK = "cnit"


class Answer(msgspec.Struct, frozen=True):
    code: int
    out: Any


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.01)


class Node:
    """One node: start and kill its server, make pods, call the plugin as a runtime does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{_MARK}-{os.getpid()}"
        self.socket = folder / "cni.sock"
        self._server: subprocess.Popen[bytes] | None = None
        self._pods: list[str] = []
        netns.create((self.name,))
        self.ip("link", "set", "lo", "up")
        install(folder / "bin", folder / "net.d", self.socket)

    def start(self, prefixes: str = PREFIXES, fatal_step: str = "") -> None:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "tests.agent.cni_node", self.folder, prefixes, fatal_step]
        self._server = netns.inside(self.name, lambda: subprocess.Popen(argv))
        server = self._server
        wait_for(lambda: ready.exists() or server.poll() is not None, "the server is ready")
        assert server.poll() is None

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def repair(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGUSR1)

    def has_died(self) -> None:
        assert self._server is not None
        assert self._server.wait(30) == -9
        self._server = None

    def pod(self, name: str) -> str:
        """A new namespace; its path."""
        namespace = f"{self.name}-{name}"
        netns.create((namespace,))
        self._pods.append(namespace)
        return f"/run/netns/{namespace}"

    def end_pod(self, path: str) -> None:
        namespace = Path(path).name
        netns.delete(namespace)
        self._pods.remove(namespace)

    def name_again(self, path: str, other: str) -> None:
        """Let a path that led to one pod lead to another."""
        Path(path).touch()
        subprocess.run(["mount", "--bind", other, path], check=True)
        self._pods.append(Path(path).name)

    def close(self) -> None:
        self.stop()
        for name in (*self._pods, self.name):
            netns.delete(name)

    def call(self, command: str, env: dict[str, str] | None = None, **config: Any) -> Answer:
        """One run of the installed plugin, inside the node's namespace."""
        stdin = {
            "cniVersion": "1.1.0",
            "name": "steppe",
            "type": "steppe",
            "socket": str(self.socket),
            **config,
        }
        full = {"CNI_COMMAND": command, "CNI_PATH": str(self.folder / "bin"), **(env or {})}
        done = netns.inside(
            self.name,
            lambda: subprocess.run(
                [self.folder / "bin" / "steppe"],
                input=json.dumps(stdin).encode(),
                env=full,
                capture_output=True,
                timeout=40,
                check=False,
            ),
        )
        assert done.stderr == b""
        return Answer(done.returncode, json.loads(done.stdout) if done.stdout else None)

    def add(self, pod: str, path: str, container: str = "", **config: Any) -> Answer:
        return self.call("ADD", self.env(pod, path, container), **config)

    def delete(self, pod: str, path: str = "", container: str = "", **config: Any) -> Answer:
        return self.call("DEL", self.env(pod, path, container), **config)

    @staticmethod
    def env(pod: str, path: str = "", container: str = "") -> dict[str, str]:
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}"
        return {
            "CNI_CONTAINERID": container or f"c-{pod}",
            "CNI_NETNS": path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": args,
        }

    def ip(self, *words: str, namespace: str = "") -> Any:
        """`ip -j`, inside the node or a pod given by its path."""
        name = Path(namespace).name or self.name
        done = subprocess.run(
            ["ip", "-n", name, "-j", "-d", *words], capture_output=True, check=True, text=True
        )
        return json.loads(done.stdout or "[]")

    def pod_links(self) -> dict[str, str]:
        """The pod links on the node, with their aliases."""
        links = self.ip("link", "show")
        return {
            one["ifname"]: one.get("ifalias", "") for one in links if one["ifname"].startswith("st")
        }

    def told(self) -> list[str]:
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


def addresses(answer: Answer) -> set[str]:
    assert answer.code == 0, answer.out
    return {ip["address"] for ip in answer.out["ips"]}


def sweep() -> None:
    """Remove what a killed test run has left behind."""
    for path in Path("/run/netns").glob(f"{_MARK}-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            netns.delete(path.name)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    sweep()
    made = Node(tmp_path)
    try:
        yield made
    finally:
        made.close()

"""A running lab to measure in, brought up as a user would, and taken down whatever happens."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from bench.model import BenchError
from steppe_lab import netns
from steppe_lab.record import Record, paths, read_record

NAME = "bench"
STEPPE = (str(Path(sys.executable).parent / "steppe"),)
_RUNNING_SECONDS = 30.0


class Place(msgspec.Struct, frozen=True):
    """A node or a pod: where packets start or end."""

    netns: str
    addresses: tuple[str, ...]

    def address(self, version: int) -> str:
        return next(a for a in self.addresses if ip_address(a).version == version)


@contextlib.contextmanager
def lab(nodes: int, fabric: str = "auto", manifest: str = "") -> Iterator[float]:
    """A lab; the value is how many seconds `steppe lab up` took."""
    down()  # what an interrupted run left
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(manifest)
            file.flush()
            options = ("--nodes", str(nodes), "--fabric", fabric)
            files = ("-f", file.name) if manifest else ()
            began = time.monotonic()
            steppe("lab", "up", "--name", NAME, *options, *files)
            yield time.monotonic() - began
    finally:
        down()


def down() -> None:
    steppe("lab", "down", "--name", NAME)


def steppe(*arguments: str) -> None:
    """The command itself; what it says is shown only when it fails."""
    done = subprocess.run((*STEPPE, *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"steppe {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def record() -> Record:
    return read_record(NAME)


def node(name: str) -> Place:
    """A node of the lab."""
    nodes = json.loads(paths(NAME).nodes.read_bytes())["nodes"]
    found = next(entry for entry in nodes if entry["name"] == name)
    return Place(found["netns"], tuple(found["addresses"]))


def pod_manifest(name: str, node: str) -> str:
    """A pod that does nothing, on a given node."""
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": node,
                "containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10"}],
            },
        }
    ).decode()


def pod(name: str) -> Place:
    """A pod of the lab, once it runs."""
    end = time.monotonic() + _RUNNING_SECONDS
    while time.monotonic() < end:
        status = _get_pod(name).get("status", {})
        addresses = tuple(entry["ip"] for entry in status.get("podIPs", ()))
        if addresses and status.get("phase") == "Running":
            return Place(_namespace_with(addresses[0]), addresses)
        time.sleep(0.1)
    raise BenchError(f"pod {name} does not run within {_RUNNING_SECONDS:.0f} s: {status}")


def _get_pod(name: str) -> dict[str, Any]:
    command = ("kubectl", "--kubeconfig", record().kubeconfig, "get", "pod", name, "-o", "json")
    found: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True).stdout
    )
    return found


def _namespace_with(address: str) -> str:
    """The pod namespace in which an interface has this address."""
    for name in netns.namespaces_of_lab(NAME):
        command = ("ip", "-n", name, "-j", "address")
        links = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        held = {info["local"] for link in links for info in link["addr_info"]}
        if "-pod-" in name and address in held:
            return name
    raise BenchError(f"no pod namespace holds {address}")

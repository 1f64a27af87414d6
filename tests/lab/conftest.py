"""Labs for tests: named apart from people's own, and gone when the tests are, or the next ones.

Labs are brought up by the command line, as users do, in a process of its own.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from steppe_lab.down import down, labs
from tests.waiting import patience

# Names carry the test run's pid, so that runs side by side do not sweep each other's labs.
PREFIX = f"pytest-{os.getpid()}"

STEPPE = [sys.executable, "-P", "-c", "from steppe.cli.main import main; main()"]

ECHO = {
    "name": "echo",
    "image": "echo",
    "env": [{"name": "HTTP_PORT", "value": "8080"}, {"name": "UDP_PORT", "value": "7"}],
    "ports": [{"containerPort": 8080}, {"containerPort": 7, "protocol": "UDP"}],
    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
}


class Lab(msgspec.Struct, frozen=True):
    """A lab that is up."""

    name: str

    @property
    def root(self) -> Path:
        return Path("/run/steppe/labs") / self.name

    def record(self) -> dict[str, Any]:
        return json.loads((self.root / "lab.json").read_bytes())

    def argv(self, command: str, *arguments: str) -> list[str]:
        """`steppe lab COMMAND --name THIS ARGUMENTS`, for a process to start."""
        return [*STEPPE, "lab", command, "--name", self.name, *arguments]

    def steppe(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """`steppe lab ARGUMENTS --name THIS`, whatever its exit code."""
        return _run(self.argv(*arguments), timeout)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`steppe ARGUMENTS --lab THIS`, whatever its exit code."""
        return _run([*STEPPE, *arguments, "--lab", self.name], 60)

    def kubectl(self, *arguments: str) -> str:
        config = f"--kubeconfig={self.record()['kubeconfig']}"
        return _run(["kubectl", config, *arguments], 60).stdout


def steppe(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """`steppe lab ARGUMENTS`, whatever its exit code."""
    return _run([*STEPPE, "lab", *arguments], timeout)


def _run(argv: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=patience(timeout)
    )


def echo_pods(nodes: tuple[str, ...], each: int) -> list[dict[str, Any]]:
    """Echo pods bound to nodes, so that a test knows where they run."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"echo-{node.removeprefix('node-')}-{number}"},
            "spec": {"nodeName": node, "containers": [ECHO]},
        }
        for node in nodes
        for number in range(each)
    ]


@pytest.fixture(scope="session")
def _no_stale_labs() -> Iterator[None]:
    """A test run that was killed could not clean up after itself."""
    _sweep()
    yield
    _sweep()


def _sweep() -> None:
    for lab in labs():
        run = re.match(r"pytest-(\d+)-", lab)
        if run and (int(run[1]) == os.getpid() or not Path(f"/proc/{run[1]}").exists()):
            down(lab)


@pytest.fixture
def make_lab(tmp_path: Path, _no_stale_labs: None) -> Iterator[Callable[..., Lab]]:
    with make_labs(tmp_path) as make:
        yield make


@contextlib.contextmanager
def make_labs(folder: Path) -> Iterator[Callable[..., Lab]]:
    """Brings labs up, and all of them down at the end, however it went."""
    made = []

    def make(suffix: str, *arguments: str, pods: list[dict[str, Any]] | None = None) -> Lab:
        lab = Lab(f"{PREFIX}-{suffix}")
        made.append(lab)
        manifests = folder / f"{suffix}.yaml"
        manifests.write_text(yaml.safe_dump_all(pods or []))
        done = lab.steppe("up", "-f", str(manifests), *arguments, timeout=100)
        assert done.returncode == 0, done.stderr + done.stdout
        if pods:
            lab.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod", "--all")
        return lab

    try:
        yield make
    finally:
        for lab in made:
            down(lab.name)

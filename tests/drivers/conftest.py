"""Network namespaces for one test: anonymous, held by a file descriptor alone.

They leave nothing behind, however a test run ends: no name, no mount, no process.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.netns import NetnsError, call_in_new, current
from steppe.drivers.watch import Watch
from tests.waiting import patience


class Namespace:
    """A network namespace of its own, with its loopback link up."""

    def __init__(self) -> None:
        self.fd = _new_namespace()
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        os.close(self.fd)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def run(self, *command: str, stdin: str = "") -> str:
        """The output of a command run inside."""
        argv = ["nsenter", f"--net={self.path}", *command]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, check=False, timeout=patience(20)
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def ip(self, *words: str) -> Any:
        """What `ip -j` says about this namespace."""
        return json.loads(self.run("ip", "-j", "-d", *words) or "[]")


class Pair(NamedTuple):
    """A node with its driver and a watch over it, and a pod's namespace beside it."""

    node: Namespace
    pod: Namespace
    driver: KernelDriver
    watch: Watch


def _new_namespace() -> int:
    try:
        return call_in_new(current)
    except NetnsError as error:
        pytest.fail(f"{error}: these tests must run as root")


@pytest.fixture
def node() -> Iterator[Namespace]:
    """A node: underlay eth0 with 192.0.2.11/24 and 2001:db8::11/64, default routes."""
    namespace = Namespace()
    try:
        prepare_node(namespace)
        yield namespace
    finally:
        namespace.close()


def prepare_node(namespace: Namespace) -> None:
    run = namespace.run
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
    run("ip", "link", "set", "wire", "addrgenmode", "none", "up")
    run("ip", "link", "set", "eth0", "addrgenmode", "none", "up")
    run("ip", "address", "add", "192.0.2.11/24", "dev", "eth0")
    run("ip", "address", "add", "2001:db8::11/64", "dev", "eth0", "nodad")
    run("ip", "route", "add", "default", "via", "192.0.2.1")
    run("ip", "route", "add", "default", "via", "2001:db8::1")


@pytest.fixture
def pod() -> Iterator[Namespace]:
    namespace = Namespace()
    try:
        yield namespace
    finally:
        namespace.close()

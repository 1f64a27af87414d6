"""Network namespaces for one test: anonymous, held by a file descriptor alone.

They leave nothing behind, however a test run ends: no name, no mount, no process.
"""

import ctypes
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.watch import Watch

CLONE_NEWNET = 0x40000000


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

    def run(self, *command: str) -> str:
        """The output of a command run inside."""
        argv = ["nsenter", f"--net={self.path}", *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
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
    fds: list[int] = []
    libc = ctypes.CDLL(None, use_errno=True)

    def body() -> None:
        if libc.unshare(CLONE_NEWNET) == 0:
            fds.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if not fds:
        pytest.fail("no new network namespace: these tests must run as root")
    return fds[0]


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

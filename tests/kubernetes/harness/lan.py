"""The network that nodes stand in: a bridge in the control plane's network namespace."""

import contextlib
import json
import os
import signal
from pathlib import Path

from tests.kubernetes.harness.processes import run
from tests.kubernetes.harness.settings import LAN, LAN4, LAN6, PREFIX

_FORWARDS = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def make() -> None:
    run(["ip", "netns", "add", LAN])
    inside("sysctl", "-qw", *_FORWARDS, "net.ipv6.conf.default.accept_dad=0")
    inside("ip", "link", "set", "lo", "up")
    inside("ip", "link", "add", "br0", "type", "bridge")
    inside("ip", "link", "set", "br0", "up")
    inside("ip", "address", "add", f"{LAN4}.1/24", "dev", "br0")
    inside("ip", "-6", "address", "add", f"{LAN6}:1/64", "dev", "br0", "nodad")


def inside(*argv: str | Path, check: bool = True) -> str:
    """Run in the control plane's network namespace; standard output."""
    return run(["ip", "netns", "exec", LAN, *argv], check=check)


def addresses(node: str) -> tuple[str, str]:
    """A node's own addresses: n1 has .11 and ::11."""
    number = 10 + int(node.removeprefix("n"))
    return f"{LAN4}.{number}", f"{LAN6}:{number}"


def attach(node: str) -> str:
    """A network namespace for the node, with a wire to the bridge; its name."""
    name = f"{PREFIX}-{node}"
    four, six = addresses(node)
    run(["ip", "netns", "add", name])
    peer = ("peer", "name", f"v-{node}", "netns", LAN)
    run(["ip", "link", "add", "name", "eth0", "netns", name, "type", "veth", *peer])
    inside("ip", "link", "set", f"v-{node}", "master", "br0", "up")
    run(["ip", "netns", "exec", name, "sysctl", "-qw", *_FORWARDS])
    ip = ("ip", "-n", name)
    run([*ip, "link", "set", "lo", "up"])
    run([*ip, "address", "add", f"{four}/24", "dev", "eth0"])
    run([*ip, "-6", "address", "add", f"{six}/64", "dev", "eth0", "nodad"])
    run([*ip, "link", "set", "eth0", "up"])
    run([*ip, "route", "add", "default", "via", f"{LAN4}.1"])
    run([*ip, "-6", "route", "add", "default", "via", f"{LAN6}:1"])
    return name


def route(node: str, prefix: str) -> None:
    """The control plane is no node: it gets routes to pods as an operator would add them."""
    via = addresses(node)[":" in prefix]
    inside("ip", "route", "replace", prefix, "via", via)


def namespaces() -> list[str]:
    listed = json.loads(run(["ip", "-json", "netns", "list"]) or "[]")
    return [one["name"] for one in listed if one["name"].startswith(f"{PREFIX}-")]


def remove() -> None:
    """Kill what runs in network namespaces of the harness, and remove them."""
    for name in namespaces():
        for pid in run(["ip", "netns", "pids", name], check=False).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run(["ip", "netns", "delete", name], check=False)

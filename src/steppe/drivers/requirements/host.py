"""Requirements of the machine around the kernel: rights, size, settings, programs, libraries."""

import ctypes
import os
from functools import partial
from pathlib import Path

from steppe.drivers.requirements.attempt import program
from steppe.drivers.requirements.model import (
    Level,
    Outcome,
    Requirement,
    missing,
    ok,
    unknown,
)

# An agent takes 60 MB at most, and the lab's own processes about as much together.
LEAST_MEMORY_GIB = 1.0


def root() -> Outcome:
    """Whether we may make namespaces and interfaces."""
    user = os.geteuid()
    return ok("uid 0") if user == 0 else missing(f"uid {user}")


def size() -> Outcome:
    """How much of a lab fits."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    memory = pages * page / 2**30
    found = f"{len(os.sched_getaffinity(0))} CPUs, {memory:.1f} GiB"
    return ok(found) if memory >= LEAST_MEMORY_GIB else missing(found)


def on_path(name: str) -> Outcome:
    """Where a program is."""
    where = program(name)
    return ok(where) if where else missing("not found")


def library(name: str) -> Outcome:
    """Whether a shared library can be loaded."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return missing(str(error))
    return ok()


def setting(name: str) -> Outcome:
    """What a sysctl of the machine's own namespace says."""
    path = Path("/proc/sys", name.replace(".", "/"))
    try:
        return ok(path.read_text().strip())
    except OSError as error:
        return unknown(error.strerror or str(error))


def _program(name: str, level: Level, purpose: str, package: str) -> Requirement:
    return Requirement(name, level, purpose, f"apt-get install {package}", partial(on_path, name))


def _setting(name: str, purpose: str) -> Requirement:
    return Requirement(name, Level.INFO, purpose, "", partial(setting, name))


MACHINE = (
    Requirement(
        "root", Level.REQUIRED, "to make namespaces and interfaces", "run it with sudo", root
    ),
    Requirement(
        "CPUs and memory",
        Level.REQUIRED,
        "a 3-node lab takes about 0.5 GiB, each further node 0.1 GiB",
        f"give the machine {LEAST_MEMORY_GIB:.0f} GiB of memory",
        size,
    ),
)

PROGRAMS = (
    _program("ip", Level.REQUIRED, "the lab and this report", "iproute2"),
    _program("nft", Level.REQUIRED, "this report, and looking at rules by hand", "nftables"),
    Requirement(
        "libnftables.so.1",
        Level.REQUIRED,
        "the agent changes rules in process",
        "apt-get install libnftables1",
        partial(library, "libnftables.so.1"),
    ),
    _program("nsenter", Level.REQUIRED, "steppe lab exec", "util-linux"),
    _program("unshare", Level.REQUIRED, "pods of a lab, and this report", "util-linux"),
    _program("kubectl", Level.OPTIONAL, "to work with a cluster or a lab", "kubernetes-client"),
    _program("conntrack", Level.OPTIONAL, "looking at connections by hand", "conntrack"),
    _program("bird", Level.OPTIONAL, "the fabric bgp (2.0.8 or newer)", "bird2"),
    _program("iperf3", Level.OPTIONAL, "make bench", "iperf3"),
    _program("qemu-system-x86_64", Level.OPTIONAL, "make test-vm", "qemu-system-x86"),
)

SETTINGS = (
    _setting("net.ipv4.ip_forward", "set to 1 by the agent on a node, untouched by a lab"),
    _setting("net.ipv6.conf.all.forwarding", "set to 1 by the agent on a node"),
    _setting("net.ipv6.conf.all.disable_ipv6", "1 on a node would leave its pods IPv4 only"),
    _setting("net.ipv4.conf.all.rp_filter", "1 drops packets that return by another interface"),
)

"""Many nodes: how long until a node's kernel holds the way to each of 10,000 peers?

In one process, without an API: the tables of one node are compiled, and then written to a fresh
namespace by the driver, over each fabric, both families. The time is the system time of this
process: netlink requests are worked on while they are sent.
"""

import gc
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_interface, ip_network

from bench.model import BenchError, Benchmark, Result, Say, Target
from steppe.agent.__main__ import GC_THRESHOLDS
from steppe.compile.node import compile_node
from steppe.drivers.kernel import KernelDriver
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.plan.diff import diff
from steppe.plan.order import ordered
from steppe.settings import Settings
from steppe_lab import netns

PEERS = 10_000
_FABRICS = ("direct", "vxlan")
TARGETS = {
    fabric: Target(
        f"{PEERS} dual-stack peers → kernel, {fabric}, system time", 3.0, "s", at_most=True
    )
    for fabric in _FABRICS
}
_NAMESPACE = "st-bench-peers"


def node(number: int) -> Node:
    """The number-th node: all are on one link, so that every fabric carries."""
    high, low = divmod(number + 1, 256)
    own = ip_interface(f"172.16.{high}.{low}/12"), ip_interface(f"fd00:1::{number + 1:x}/64")
    networks = ip_network(f"10.{high}.{low}.0/24"), ip_network(f"fd00:10:{number + 1:x}::/64")
    name = f"node-{number:05}"
    return Node(
        name,
        prefixes=pod_cidrs(name, networks),
        addresses=tuple(each.ip for each in own),
        underlay=Underlay("eth0", 1500, own),
    )


def prepare(here: Node) -> None:
    """An underlay for the node."""
    link = ("ip", "-n", _NAMESPACE, "link")
    commands = [
        (*link, "add", "eth0", "type", "veth", "peer", "name", "wire"),
        (*link, "set", "wire", "up"),
        (*link, "set", "eth0", "up"),
    ]
    commands += [
        ("ip", "-n", _NAMESPACE, "address", "add", str(own), "dev", "eth0", *nodad)
        for own in here.underlay.addresses
        for nodad in ((("nodad",) if own.version == 6 else ()),)
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)


def load(fabric: str, nodes: list[Node]) -> Result:
    """Everything but Services and policies, from nothing."""
    here = nodes[0]
    began = time.process_time()
    state, problems = compile_node(Settings(fabric=fabric), here, nodes, ())
    compiled = time.process_time() - began
    if problems:
        raise BenchError(str(problems[0]))
    wanted = {key: entry for key, entry in state.items() if key.table != "elements"}
    prepare(here)
    fd = os.open(f"/run/netns/{_NAMESPACE}", os.O_RDONLY)
    with closing(KernelDriver(fd)) as driver:
        settings = [key for key in wanted if key.table == "sysctls"]
        changes = ordered(diff(wanted, driver.read()))
        before, clock = os.times(), time.monotonic()
        failures = driver.apply(changes)
        after, took = os.times(), time.monotonic() - clock
        if failures:
            raise BenchError(f"{len(failures)} refused; the first: {failures[0].error}")
        left = diff(wanted, driver.read(settings))
    os.close(fd)
    if left:
        raise BenchError(f"{len(left)} entries are not as they shall be; the first: {left[0]}")
    details = {
        "entries": len(wanted),
        "clock": took,
        "user": after.user - before.user,
        "compile": compiled,
    }
    return Result(TARGETS[fabric], after.system - before.system, details)


def measure(say: Say) -> Iterator[Result]:
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    nodes = [node(number) for number in range(PEERS + 1)]
    try:
        for fabric in _FABRICS:
            say(f"  {PEERS} peers by {fabric}")
            netns.delete(_NAMESPACE)
            netns.create((_NAMESPACE,))
            try:
                yield load(fabric, nodes)
            finally:
                netns.delete(_NAMESPACE)
    finally:
        gc.set_threshold(*before)


BENCHMARK = Benchmark(tuple(TARGETS.values()), measure)

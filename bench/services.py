"""Services into the kernel, in one process: the compiler and the nft driver, without an API.

10,000 Services of 10 endpoints, from decoded objects in hand to the last element; beside them the
same Services as a chain each, loaded by the same library; then single changes among them. Then
5,000 Services of 50 endpoints. CPU is this process's time, which is less than the clock's while
other programs want the processors too. The garbage collector is set as the agent sets it.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address, ip_network

from bench.model import BenchError, Benchmark, Result, Say, Target, percentile
from steppe.agent.__main__ import GC_THRESHOLDS
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.library import Library
from steppe.kube import service_wire as wire
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import SERVICE_NAME_LABEL, service_from, slice_from
from steppe.kube.wire import ObjectMeta
from steppe.plan.diff import Change, diff
from steppe.settings import Settings
from steppe.state.node import Key, Value
from steppe_lab import netns

SERVICES, ENDPOINTS, CHANGES, AT_ONCE = 10_000, 10, 300, 1_000
_WHAT = f"{SERVICES} Services of {ENDPOINTS} endpoints"
TOTAL = Target(f"{_WHAT}: list in hand → last element", 4.0, "s", at_most=True)
KERNEL = Target(f"{_WHAT}: kernel part", 2.0, "s", at_most=True)
RATIO = Target(f"{_WHAT}: a chain each ÷ ours, kernel part", 5.0)
MEDIAN = Target(f"one endpoint among {SERVICES} Services → kernel, p50", 3.0, "ms", at_most=True)
SLOWEST = Target(f"one endpoint among {SERVICES} Services → kernel, p99", 12.0, "ms", at_most=True)
BULK = Target(f"{AT_ONCE} endpoints at once → kernel", 300.0, "ms", at_most=True)
LARGE_SERVICES, LARGE_ENDPOINTS = 5_000, 50
LARGE = Target(
    f"{LARGE_SERVICES} Services of {LARGE_ENDPOINTS} endpoints: list in hand → last element",
    12.0,
    "s",
    at_most=True,
)
NAMESPACE = "st-bench-services"
_CLUSTER_IPS, _PODS = int(IPv4Address("10.96.0.0")), int(IPv4Address("10.128.0.0"))
_NODE = Node(
    "node-a", "", pod_cidrs("node-a", [ip_network("10.244.1.0/24")]), (ip_address("192.0.2.11"),)
)


class Programmed:
    """A compiler and a kernel that it keeps in step."""

    def __init__(self, nft: Nft, node: Node = _NODE) -> None:
        self._nft = nft
        self._compiler = NodeCompiler(Settings(fabric="direct"), node.name)
        self._actual: dict[Key, Value] = {}
        self._changed(self._compiler.set_node(node))

    def take(
        self, services: list[wire.Service], slices: list[wire.EndpointSlice]
    ) -> tuple[float, float]:
        """Seconds in all for these objects, and of them for the kernel."""
        began = time.perf_counter()
        touched: set[Key] = set()
        for seen in slices:
            touched |= self._compiler.set_slice(slice_from(seen)[0])
        for service in services:
            touched |= self._compiler.set_service(service_from(service)[0])
        kernel = self._changed(frozenset(touched))
        return time.perf_counter() - began, kernel

    def _changed(self, touched: frozenset[Key]) -> float:
        changes = [
            change
            for change in diff(self._compiler.state, self._actual, touched)
            if change.key.table == "elements"
        ]
        began = time.perf_counter()
        self._apply(changes)
        spent = time.perf_counter() - began
        for change in changes:
            if change.new is None:
                self._actual.pop(change.key, None)
            else:
                self._actual[change.key] = change.new
        return spent

    def _apply(self, changes: list[Change]) -> None:
        failures = self._nft.apply(changes)
        if failures:
            raise BenchError(f"{len(failures)} elements refused, the first: {failures[0].error}")


def service(number: int) -> wire.Service:
    address = str(IPv4Address(_CLUSTER_IPS + number))
    meta = ObjectMeta(name=f"s{number}", namespace="bench")
    ports = (wire.ServicePort("http", "TCP", 80),)
    return wire.Service(meta, wire.ServiceSpec(cluster_ip=address, ports=ports))


def endpoint_slice(number: int, first: int = 0, count: int = ENDPOINTS) -> wire.EndpointSlice:
    """A Service's endpoints; `first` moves all of them on."""
    name = f"s{number}"
    labels = {SERVICE_NAME_LABEL: name}
    endpoints = tuple(
        wire.Endpoint(
            (str(IPv4Address(_PODS + number * 2 * count + index)),),
            wire.Conditions(ready=True, serving=True),
            "node-b",
        )
        for index in range(first, first + count)
    )
    meta = ObjectMeta(name=f"{name}-a", namespace="bench", labels=labels)
    return wire.EndpointSlice(meta, "IPv4", endpoints, (wire.EndpointPort("http", "TCP", 8080),))


def chain_each() -> str:
    """The same Services as a chain each, as proxies write them."""
    lines = ["table ip bench {"]
    lines.append("map services { type ipv4_addr . inet_proto . inet_service : verdict; }")
    for number in range(SERVICES):
        first = _PODS + number * 2 * ENDPOINTS
        choices = ", ".join(
            f"{index} : {IPv4Address(first + index)} . 8080" for index in range(ENDPOINTS)
        )
        choice = f"numgen random mod {ENDPOINTS} map {{ {choices} }}"
        lines.append(f"chain s{number} {{\n meta l4proto tcp dnat ip to {choice}\n}}")
    lines.append("}")
    verdicts = (
        f"{IPv4Address(_CLUSTER_IPS + number)} . tcp . 80 : goto s{number}"
        for number in range(SERVICES)
    )
    lines.append(f"add element ip bench services {{ {', '.join(verdicts)} }}\n")
    return "\n".join(lines)


@contextmanager
def namespace(name: str = NAMESPACE) -> Iterator[None]:
    netns.delete(name)
    netns.create((name,))
    try:
        yield
    finally:
        netns.delete(name)


def measure(say: Say) -> Iterator[Result]:
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield from _measure(say)
        say(f"  {LARGE_SERVICES} Services of {LARGE_ENDPOINTS} endpoints")
        yield _large()
    finally:
        gc.set_threshold(*before)


def _large() -> Result:
    with namespace(), netns.inside(NAMESPACE, lambda: Nft(SKELETON)) as nft:
        nft.ensure()
        numbers = range(LARGE_SERVICES)
        services = [service(number) for number in numbers]
        slices = [endpoint_slice(number, count=LARGE_ENDPOINTS) for number in numbers]
        world, began = Programmed(nft), time.process_time()
        total, kernel = world.take(services, slices)
        spent = time.process_time() - began
    return Result(LARGE, total, {"kernel": kernel, "CPU": spent})


def _measure(say: Say) -> Iterator[Result]:
    with namespace(), netns.inside(NAMESPACE, lambda: Nft(SKELETON)) as nft:
        nft.ensure()
        world = Programmed(nft)
        services = [service(number) for number in range(SERVICES)]
        slices = [endpoint_slice(number) for number in range(SERVICES)]
        say(f"  {_WHAT}")
        began = time.process_time()
        total, kernel = world.take(services, slices)
        spent = time.process_time() - began
        yield Result(TOTAL, total, {"kernel": kernel, "CPU": spent})
        yield Result(KERNEL, kernel)
        say(f"  {CHANGES} single changes")
        times = [world.take([], [endpoint_slice(number, 1)])[0] * 1000 for number in range(CHANGES)]
        yield Result(MEDIAN, percentile(times, 0.5))
        yield Result(SLOWEST, percentile(times, 0.99))
        moved = [endpoint_slice(CHANGES + n, ENDPOINTS) for n in range(AT_ONCE // ENDPOINTS)]
        yield Result(BULK, world.take([], moved)[0] * 1000)
    say("  a chain a Service")
    with namespace(), netns.inside(NAMESPACE, Library) as library:
        text = chain_each()
        began = time.perf_counter()
        library.run(text)
        chains = time.perf_counter() - began
    yield Result(RATIO, chains / kernel, {"chains": chains, "ours": kernel})


BENCHMARK = Benchmark((TOTAL, KERNEL, MEDIAN, SLOWEST, BULK, RATIO, LARGE), measure)

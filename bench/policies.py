"""Policies into the kernel, in one process: the compiler and the nft driver, without an API.

A node with 100 of 10,000 dual-stack pods in 100 namespaces, under 1,000 policies: everything at
once, then single pods relabelled, then one policy that selects 100 pods of a node and admits 5,000.
"""

import gc
import resource
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from bench.model import BenchError, Benchmark, Result, Say, Target, percentile
from bench.services import namespace
from steppe.agent.__main__ import GC_THRESHOLDS
from steppe.compile.incremental import NodeCompiler
from steppe.compile.policy_tables import PolicyObjects
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Block, Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.net.ports import PortRange
from steppe.plan.diff import diff
from steppe.settings import Settings
from steppe.state.node import Key, Value
from steppe.state.workload import workload_of
from steppe_lab import netns

PODS, POLICIES, NAMESPACES, LOCAL, PEERS, CHANGES = 10_000, 1_000, 100, 100, 5_000, 300
APPS, TEAMS = 20, 10
_WHAT = f"{PODS} pods, {POLICIES} policies, {NAMESPACES} namespaces"
COLD = Target(f"{_WHAT}: lists in hand → last element", 5.0, "s", at_most=True)
MEMORY = Target(f"{_WHAT}: memory of the process", 300.0, "MB", at_most=True)
MEDIAN = Target(f"one pod of {PODS} relabelled → kernel, p50", 5.0, "ms", at_most=True)
SLOWEST = Target(f"one pod of {PODS} relabelled → kernel, p99", 20.0, "ms", at_most=True)
ADDED = Target(
    f"one policy for {LOCAL} local pods and {PEERS} peers → kernel", 100.0, "ms", at_most=True
)
_NAMESPACE = "st-bench-policies"
_NODE = Node(
    "node-0",
    "",
    pod_cidrs("node-0", (ip_network("10.244.0.0/24"), ip_network("fd00:244::/64"))),
    (ip_address("192.0.2.11"), ip_address("2001:db8::11")),
)
_FIRST = (int(IPv4Address("10.128.0.0")), int(IPv6Address("fd00:128::")))


def labelled(**labels: str) -> Selector:
    return Selector(tuple(Requirement(k, "In", frozenset((v,))) for k, v in sorted(labels.items())))


def pod(number: int, within: int = NAMESPACES) -> Pod:
    """Each pod has a label of its own, as a StatefulSet's have; the first are this node's."""
    first4, first6 = _FIRST
    labels = {
        "app": f"app-{number // within % APPS}",
        "name": f"p{number}",
        "half": str(number % 2),
    }
    return Pod(
        f"ns{number % within}",
        f"p{number}",
        node=f"node-{number // LOCAL}",
        addresses=(IPv4Address(first4 + number), IPv6Address(first6 + number)),
        labels=labels,
    )


def policy(number: int) -> NetworkPolicy:
    """For all pods of a namespace: in from an app of it and one of a team, out to the first."""
    space, turn = f"ns{number % NAMESPACES}", number // NAMESPACES
    home = Pods(EVERYTHING, labelled(app=f"app-{turn}"), space)
    guest = Pods(labelled(team=f"t{number % TEAMS}"), labelled(app=f"app-{turn + 1}"))
    outside = Block(ip_network(f"203.0.{turn}.0/24"))
    return NetworkPolicy(
        space,
        f"p{number}",
        EVERYTHING,
        frozenset(("ingress", "egress")),
        (Rule("spec.ingress[0]", (home, guest), (PortRange("TCP", 80 + turn, 80 + turn),)),),
        (Rule("spec.egress[0]", (home, outside), (PortRange("TCP", 5432, 5432),)),),
    )


def spaces(count: int = NAMESPACES) -> tuple[Namespace, ...]:
    return tuple(Namespace(f"ns{n}", {"team": f"t{n % TEAMS}"}) for n in range(count))


class Guarded:
    """A node's compiler and a kernel that it keeps in step."""

    def __init__(self, nft: Nft, node: Node, pods: Iterable[Pod]) -> None:
        self._nft = nft
        self._actual: dict[Key, Value] = {}
        self.compiler = NodeCompiler(Settings(fabric="direct"), node.name)
        self.compiler.set_node(node)
        for each in pods:
            workload = workload_of(each)
            if workload is not None:
                self.compiler.set_workload(workload)
        self.tables = self.compiler.policies
        self.take(frozenset(self.compiler.state))

    def take(self, touched: frozenset[Key]) -> int:
        """What these keys come to, into the kernel; answers how many elements that is."""
        changes = [
            change
            for change in diff(self.compiler.state, self._actual, touched)
            if change.key.table == "elements"
        ]
        failures = self._nft.apply(changes)
        if failures:
            raise BenchError(f"{len(failures)} elements refused, the first: {failures[0].error}")
        for change in changes:
            if change.new is None:
                self._actual.pop(change.key, None)
            else:
                self._actual[change.key] = change.new
        return len(changes)


def _large(say: Say) -> Iterator[Result]:
    pods = [pod(number) for number in range(PODS)]
    policies = tuple(policy(number) for number in range(POLICIES))
    with namespace(_NAMESPACE), netns.inside(_NAMESPACE, lambda: Nft(SKELETON)) as nft:
        nft.ensure()
        world = Guarded(nft, _NODE, pods[:LOCAL])
        say(f"  {_WHAT}")
        began, spent = time.perf_counter(), time.process_time()
        count = world.take(world.tables.learn(PolicyObjects(tuple(pods), spaces(), policies)))
        took, spent = time.perf_counter() - began, time.process_time() - spent
        yield Result(COLD, took, {"elements": count, "CPU": spent})
        yield Result(MEMORY, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        say(f"  {CHANGES} pods relabelled")
        times = []
        for turn in range(CHANGES):
            one = pods[turn * 37 % PODS]
            labels = {**one.labels, "app": f"app-{(turn + 3) % APPS}"}
            began = time.perf_counter()
            world.take(world.tables.set_pod(msgspec.structs.replace(one, labels=labels)))
            times.append((time.perf_counter() - began) * 1000)
        yield Result(MEDIAN, percentile(times, 0.5))
        yield Result(SLOWEST, percentile(times, 0.99))


def _one_policy(say: Say) -> Result:
    """Its pods are one namespace's, all of them on this node; its peers are half of all others."""
    say("  one policy")
    here = [msgspec.structs.replace(pod(n), namespace="here") for n in range(LOCAL)]
    others = [pod(number) for number in range(LOCAL, LOCAL + 2 * PEERS)]
    peers = Pods(labelled(), labelled(half="1"))
    rule = Rule("spec.ingress[0]", (peers,), (PortRange("TCP", 80, 80),))
    added = NetworkPolicy("here", "added", EVERYTHING, frozenset(("ingress",)), (rule,))
    with namespace(_NAMESPACE), netns.inside(_NAMESPACE, lambda: Nft(SKELETON)) as nft:
        nft.ensure()
        world = Guarded(nft, _NODE, here)
        known = (*spaces(), Namespace("here"))
        world.take(world.tables.learn(PolicyObjects((*here, *others), known)))
        gc.collect()  # what the lists left is not this policy's to clear away
        began, spent = time.perf_counter(), time.process_time()
        count = world.take(world.tables.set_policy(added))
        took, spent = time.perf_counter() - began, time.process_time() - spent
    return Result(ADDED, took * 1000, {"elements": count, "CPU": spent * 1000})


def measure(say: Say) -> Iterator[Result]:
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield from _large(say)
        yield _one_policy(say)
    finally:
        gc.set_threshold(*before)


BENCHMARK = Benchmark((COLD, MEMORY, MEDIAN, SLOWEST, ADDED), measure)

"""The tables' policies do what the spec says, however they came about."""

import os
from collections.abc import Mapping
from ipaddress import ip_network

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_cluster, compile_node
from steppe.compile.policy_tables import PolicyObjects, PolicyTables, policy_claims
from steppe.compile.slices import counted
from steppe.compile.tables import Tables
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod, Underlay
from steppe.kube.policies import Namespace
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_interface
from steppe.net.packet import Packet
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World
from steppe.plan.diff import applied, diff
from steppe.policy.identities import NOBODY, Identity
from steppe.policy.numbers import NO_NUMBER, number_of
from steppe.settings import Settings
from steppe.state.node import NodeState, settle, values
from steppe.state.workload import workload_of, workloads_on
from steppe.walk.trace import End
from steppe.walk.walk import Walker
from tests.policy_worlds import (
    NAMESPACES,
    NODES,
    cluster_policies,
    labels,
    network_policies,
    packets_of,
    worlds,
)

DIRECT = Settings(fabric="direct")
EXAMPLES = int(os.environ.get("STEPPE_POLICY_EXAMPLES", "60"))
"""Random clusters a test; 2,000 take ten minutes."""
pytestmark = pytest.mark.timeout(max(120, EXAMPLES))
ARRIVED = ("pod", "node", "outside")


def with_prefixes(node: Node) -> Node:
    number = node.name[-1]
    prefixes = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:{number}::/64"))
    addresses = tuple(
        parse_interface(f"{address}/{24 if address.version == 4 else 64}")
        for address in node.addresses
    )
    underlay = Underlay("eth0", 1500, addresses)
    return msgspec.structs.replace(node, prefixes=pod_cidrs(node.name, prefixes), underlay=underlay)


def cluster_in(world: World) -> Cluster:
    return cluster_of(
        map(with_prefixes, world.nodes.values()),
        _pods(world),
        world.namespaces.values(),
        world.network_policies,
        cluster_policies=world.cluster_policies,
    )


def _pods(world: World) -> list[Pod]:
    return list({pod.ref: pod for pod in world.pods.values()}.values())


def ends(world: World, cluster: Cluster, states: Mapping[str, NodeState]) -> dict[Packet, End]:
    """Where each packet ends; hosts outside reach pods by the pod's own node."""
    walker = Walker(cluster, states)
    found: dict[Packet, End] = {}
    for packet in packets_of(world):
        receiver = world.pods.get(packet.destination)
        at = receiver.node if receiver is not None else "n1"
        (trace,) = walker.walks(packet, at)
        found[packet] = trace.end
    return found


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds())
def test_a_walk_gets_through_where_the_spec_allows_it(world: World) -> None:
    cluster = cluster_in(world)
    states, problems = compile_cluster(DIRECT, cluster)
    assert problems == ()
    for packet, end in ends(world, cluster, states).items():
        said = verdict(world, packet)
        assert (end.kind in ARRIVED) == said.allowed, (packet, end, said)


def few_numbers(identity: Identity) -> int:
    """So few that identities share them, which 32 bits make as good as impossible."""
    return 2 + number_of(identity) % 2 if identity != NOBODY else NO_NUMBER


def objects_in(world: World) -> PolicyObjects:
    return PolicyObjects(
        tuple(_pods(world)),
        tuple(world.namespaces.values()),
        world.network_policies,
        world.cluster_policies,
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds())
def test_identities_that_share_a_number_get_nowhere_the_spec_does_not_allow(world: World) -> None:
    cluster = cluster_in(world)
    states, _ = compile_cluster(msgspec.structs.replace(DIRECT, policies=False), cluster)
    nodes = tuple(cluster.nodes.values())
    guarded = {}
    for name, state in states.items():
        claims = policy_claims(objects_in(world), nodes, workloads_on(cluster, name), few_numbers)
        guarded[name] = {**state, **settle(claims)[0]}
    for packet, end in ends(world, cluster, guarded).items():
        if end.kind in ARRIVED:
            assert verdict(world, packet).allowed, (packet, end)


events = st.one_of(
    st.tuples(st.just("relabel"), st.integers(0, 4), labels),
    st.tuples(st.just("gone"), st.integers(0, 4)),
    st.tuples(st.just("back"), st.integers(0, 4)),
    st.tuples(st.just("namespace"), st.sampled_from(NAMESPACES), labels),
    st.tuples(st.just("no namespace"), st.sampled_from(NAMESPACES)),
    st.tuples(st.just("policy"), network_policies("p0") | network_policies("p1")),
    st.tuples(st.just("no policy"), st.sampled_from(NAMESPACES), st.sampled_from(["p0", "p1"])),
    st.tuples(st.just("cluster policy"), cluster_policies("c0") | cluster_policies("c1")),
    st.tuples(st.just("no cluster policy"), st.sampled_from(["c0", "c1"])),
    st.tuples(st.just("attach"), st.integers(0, 4)),
    st.tuples(st.just("detach"), st.integers(0, 4)),
)


class History:
    """One node's compiler and, beside it, what it has been told."""

    def __init__(self, world: World) -> None:
        self.here = with_prefixes(NODES[0])
        self.compiler = NodeCompiler(DIRECT, self.here.name)
        self.compiler.set_node(self.here)
        self.all = _pods(world)
        self.pods: dict[str, Pod] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.policies: dict[tuple[str, str], object] = {}
        self.cluster_policies: dict[str, object] = {}
        self.workloads: dict[str, object] = {}

    def take(self, history) -> None:
        actual = values(self.compiler.state)
        for event in history:
            touched = self.do(*event)
            # Only the keys that an event answers are diffed: that must be enough to stay in sync.
            actual = applied(actual, diff(self.compiler.state, actual, touched))
            assert actual == values(self.compiler.state)

    def objects(self) -> PolicyObjects:
        return PolicyObjects(
            tuple(self.pods.values()),
            tuple(self.namespaces.values()),
            tuple(self.policies.values()),
            tuple(self.cluster_policies.values()),
        )

    def do(self, what: str, *args):  # noqa: PLR0911 - one kind of event after the other
        policies = self.compiler.policies
        match what:
            case "relabel":
                pod = msgspec.structs.replace(self._pod(args[0]), labels=args[1])
                self.pods[pod.name] = pod
                return policies.set_pod(pod)
            case "back":
                pod = self._pod(args[0])
                self.pods[pod.name] = pod
                return policies.set_pod(pod)
            case "gone":
                pod = self._pod(args[0])
                self.pods.pop(pod.name, None)
                return policies.remove_pod(pod.namespace, pod.name)
            case "namespace":
                self.namespaces[args[0]] = Namespace(*args)
                return policies.set_namespace(Namespace(*args))
            case "no namespace":
                self.namespaces.pop(args[0], None)
                return policies.remove_namespace(args[0])
            case "policy":
                self.policies[args[0].namespace, args[0].name] = args[0]
                return policies.set_policy(args[0])
            case "no policy":
                self.policies.pop(args, None)
                return policies.remove_policy(*args)
            case "cluster policy":
                self.cluster_policies[args[0].name] = args[0]
                return policies.set_cluster_policy(args[0])
            case "no cluster policy":
                self.cluster_policies.pop(args[0], None)
                return policies.remove_cluster_policy(args[0])
            case "attach":
                workload = workload_of(self._pod(args[0]))
                assert workload is not None
                self.workloads[workload.link] = workload
                return self.compiler.set_workload(workload)
            case _:
                workload = workload_of(self._pod(args[0]))
                assert workload is not None
                self.workloads.pop(workload.link, None)
                return self.compiler.remove_workload(workload.link)

    def _pod(self, number: int) -> Pod:
        return self.all[number % len(self.all)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(), st.lists(events, max_size=25))
def test_any_history_of_events_ends_in_the_from_scratch_tables(world, history) -> None:
    world = History(world)
    world.take(history)
    state, problems = compile_node(
        DIRECT,
        world.here,
        [world.here],
        world.workloads.values(),
        policies=world.objects(),
    )
    assert world.compiler.state == state
    assert world.compiler.problems == problems


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(), st.lists(st.tuples(events, st.integers(0, 3)), max_size=25))
def test_work_in_slices_ends_in_the_same_and_hands_nothing_out_before(world, history) -> None:
    world = History(world)
    policies = world.compiler.policies
    policies.work_in_slices(lambda: None, counted(1))
    kernel = values(world.compiler.state)
    for event, slices in history:
        touched = world.do(*event)
        for _ in range(slices):
            touched |= policies.more()
        given_out = touched - policies.pending
        kernel = applied(kernel, diff(world.compiler.state, kernel, given_out))
    touched = frozenset()
    while policies.waiting:
        touched |= policies.more()
    kernel = applied(kernel, diff(world.compiler.state, kernel, touched))
    assert kernel == values(world.compiler.state)
    objects, workloads = world.objects(), world.workloads.values()
    state, problems = compile_node(DIRECT, world.here, [world.here], workloads, policies=objects)
    assert world.compiler.state == state
    assert world.compiler.problems == problems


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(), st.lists(events, max_size=25))
def test_shared_numbers_depend_on_what_there_is_and_not_on_what_there_was(world, history) -> None:
    world = History(world)
    tables = Tables()
    world.compiler.policies = PolicyTables(tables, few_numbers)
    world.compiler.policies.set_node(world.here)
    for event in history:
        world.do(*event)
    claims = policy_claims(world.objects(), [world.here], world.workloads.values(), few_numbers)
    state, problems = settle(claims)
    assert tables.state == state
    assert tables.problems == problems

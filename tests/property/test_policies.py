"""The tables' policies do what the spec says, however they came about."""

from ipaddress import ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_cluster, compile_node
from steppe.compile.policy_tables import PolicyObjects
from steppe.fabric.settings import Settings
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod, Underlay
from steppe.kube.policies import Namespace
from steppe.net.address import parse_interface
from steppe.net.packet import Packet
from steppe.plan.diff import applied, diff
from steppe.spec.policy import verdict
from steppe.spec.policy_match import World
from steppe.state.node import values
from steppe.state.workload import workload_of
from steppe.walk.trace import End
from steppe.walk.walk import Walker
from tests.policy_worlds import NAMESPACES, NODES, labels, network_policies, packets_of, worlds

DIRECT = Settings(fabric="direct")
ARRIVED = ("pod", "node", "outside")


def with_prefixes(node: Node) -> Node:
    number = node.name[-1]
    prefixes = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:{number}::/64"))
    addresses = tuple(
        parse_interface(f"{address}/{24 if address.version == 4 else 64}")
        for address in node.addresses
    )
    underlay = Underlay("eth0", 1500, addresses)
    return msgspec.structs.replace(node, pod_cidrs=prefixes, underlay=underlay)


def cluster_in(world: World) -> Cluster:
    return cluster_of(
        map(with_prefixes, world.nodes.values()),
        _pods(world),
        world.namespaces.values(),
        world.network_policies,
    )


def _pods(world: World) -> list[Pod]:
    return list({pod.ref: pod for pod in world.pods.values()}.values())


def only_network_policies(world: World) -> World:
    return msgspec.structs.replace(world, cluster_policies=())


def ends(world: World) -> dict[Packet, End]:
    """Where each packet ends; hosts outside reach pods by the pod's own node."""
    cluster = cluster_in(world)
    states, problems = compile_cluster(DIRECT, cluster)
    assert problems == ()
    walker = Walker(cluster, states)
    found: dict[Packet, End] = {}
    for packet in packets_of(world):
        receiver = world.pods.get(packet.destination)
        at = receiver.node if receiver is not None else "n1"
        (trace,) = walker.walks(packet, at)
        found[packet] = trace.end
    return found


@settings(max_examples=100, deadline=None)
@given(worlds().map(only_network_policies))
def test_a_walk_gets_through_where_the_spec_allows_it(world: World) -> None:
    for packet, end in ends(world).items():
        said = verdict(world, packet)
        assert (end.kind in ARRIVED) == said.allowed, (packet, end, said)


events = st.one_of(
    st.tuples(st.just("relabel"), st.integers(0, 4), labels),
    st.tuples(st.just("gone"), st.integers(0, 4)),
    st.tuples(st.just("back"), st.integers(0, 4)),
    st.tuples(st.just("namespace"), st.sampled_from(NAMESPACES), labels),
    st.tuples(st.just("no namespace"), st.sampled_from(NAMESPACES)),
    st.tuples(st.just("policy"), network_policies("p0") | network_policies("p1")),
    st.tuples(st.just("no policy"), st.sampled_from(NAMESPACES), st.sampled_from(["p0", "p1"])),
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
        self.workloads: dict[str, object] = {}

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


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(events, max_size=25))
def test_any_history_of_events_ends_in_the_from_scratch_tables(world, history) -> None:
    world = History(world)
    actual = values(world.compiler.state)
    for event in history:
        touched = world.do(*event)
        # Only the keys that an event answers are diffed: that must be enough to stay in sync.
        actual = applied(actual, diff(world.compiler.state, actual, touched))
        assert actual == values(world.compiler.state)
    objects = PolicyObjects(
        tuple(world.pods.values()),
        tuple(world.namespaces.values()),
        tuple(world.policies.values()),
    )
    state, problems = compile_node(
        DIRECT, world.here, [world.here], world.workloads.values(), policies=objects
    )
    assert world.compiler.state == state
    assert world.compiler.problems == problems

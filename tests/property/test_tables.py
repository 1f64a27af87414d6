"""Laws of compiling, settling and diffing, over clusters sound and unsound."""

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_cluster, compile_node
from steppe.compile.slices import counted
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.plan.diff import applied, diff
from steppe.plan.order import ordered
from steppe.settings import Settings
from steppe.state.node import causes, values
from steppe.state.workload import workloads_on
from tests.service_worlds import SERVICES, SLICES, services, slices
from tests.worlds import (
    NAMES,
    any_nodes,
    claimants,
    settings,
    sound_clusters,
)

HERE = NAMES[0]

workloads = st.builds(
    Workload,
    link=st.sampled_from(["st0", "st1", "st2"]),
    namespace=st.just("default"),
    name=st.sampled_from(["web", "db"]),
    node=st.just(HERE),
    addresses=st.sampled_from(
        [(ip_address("10.244.1.5"),), (ip_address("10.244.1.6"), ip_address("fd00:1::6"))]
    ),
)

service_ranges = st.builds(
    ServiceRange,
    name=st.sampled_from(["kubernetes", "more"]),
    prefixes=st.sampled_from(
        [(ip_network("10.96.0.0/24"),), (ip_network("10.244.2.0/23"), ip_network("fd00:1::/112"))]
    ),
    created=st.sampled_from(["2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
)

any_event = st.one_of(
    st.tuples(st.just("node"), any_nodes()),
    st.tuples(st.just("gone"), st.sampled_from(NAMES)),
    st.tuples(st.just("attach"), workloads),
    st.tuples(st.just("detach"), st.sampled_from(["st0", "st1", "st2"])),
    st.tuples(st.just("service"), services()),
    st.tuples(st.just("no service"), st.sampled_from(SERVICES)),
    st.tuples(st.just("slice"), slices()),
    st.tuples(st.just("no slice"), st.sampled_from(SLICES)),
    st.tuples(st.just("claimant"), claimants()),
    st.tuples(st.just("gone"), st.sampled_from(["late-0", "late-1", "late-2"])),
    st.tuples(st.just("range"), service_ranges),
    st.tuples(st.just("no range"), st.sampled_from(["kubernetes", "more"])),
)
events = st.lists(any_event, max_size=25)

events_here = any_event.filter(lambda event: event != ("gone", HERE))
"""Events that leave this node known."""
Known = tuple[
    dict[str, Node],
    dict[str, Workload],
    dict[str, Service],
    dict[str, EndpointSlice],
    dict[str, ServiceRange],
]


@given(events, settings)
def test_any_history_of_events_ends_in_the_from_scratch_tables(
    history: list[tuple[str, object]], chosen: Settings
) -> None:
    compiler = NodeCompiler(chosen, HERE)
    nodes: dict[str, Node] = {}
    attached: dict[str, Workload] = {}
    offered: dict[str, Service] = {}
    listed: dict[str, EndpointSlice] = {}
    ranges: dict[str, ServiceRange] = {}
    actual: dict[object, object] = {}
    for what, arg in history:
        touched = _feed(compiler, (nodes, attached, offered, listed, ranges), what, arg)
        # Only the keys an event answers are diffed: that must be enough to stay in sync.
        actual = applied(actual, diff(compiler.state, actual, touched))  # type: ignore[arg-type,assignment]
        assert actual == values(compiler.state)
    if HERE in nodes:
        state, problems = compile_node(
            chosen,
            nodes[HERE],
            nodes.values(),
            attached.values(),
            [(s, [x for x in listed.values() if x.service == s.name]) for s in offered.values()],
            ranges=ranges.values(),
        )
        assert compiler.state == state
        assert compiler.problems == problems
    else:
        assert {key.table for key in compiler.state} <= {"elements"}, "ranges need no node"


@given(st.lists(st.tuples(events_here, st.integers(0, 3)), max_size=25), settings)
def test_services_in_slices_end_in_the_same_and_nothing_is_handed_out_before(
    history: list[tuple[tuple[str, Any], int]], chosen: Settings
) -> None:
    compiler = NodeCompiler(chosen, HERE)
    compiler.set_node(Node(HERE, addresses=(ip_address("192.0.2.11"),)))
    compiler.offers.large, compiler.offers.step = 2, 1
    compiler.offers.work_in_slices(lambda: None, counted(1))
    known: Known = ({HERE: compiler.nodes[HERE]}, {}, {}, {}, {})
    actual = values(compiler.state)
    for event, turns in history:
        touched = _feed(compiler, known, *event)
        for _ in range(turns):
            touched |= compiler.offers.more()
        given_out = touched - compiler.pending
        actual = applied(actual, diff(compiler.state, actual, given_out))
    touched = frozenset()
    while compiler.offers.waiting:
        touched |= compiler.offers.more()
    actual = applied(actual, diff(compiler.state, actual, touched))
    assert actual == values(compiler.state)
    nodes, attached, offered, listed, ranges = known
    state, problems = compile_node(
        chosen,
        nodes[HERE],
        nodes.values(),
        attached.values(),
        [(s, [x for x in listed.values() if x.service == s.name]) for s in offered.values()],
        ranges=ranges.values(),
    )
    assert compiler.state == state
    assert compiler.problems == problems


def _feed(compiler, known, what, arg):  # noqa: PLR0911
    nodes, attached, offered, listed, ranges = known
    match what:
        case "range":
            ranges[arg.name] = arg
            return compiler.set_service_range(arg)
        case "no range":
            ranges.pop(arg, None)
            return compiler.remove_service_range(arg)
        case "node" | "claimant":
            nodes[arg.name] = arg
            return compiler.set_node(arg)
        case "gone":
            nodes.pop(arg, None)
            return compiler.remove_node(arg)
        case "attach":
            attached[arg.link] = arg
            return compiler.set_workload(arg)
        case "detach":
            attached.pop(arg, None)
            return compiler.remove_workload(arg)
        case "service":
            offered[arg.name] = arg
            return compiler.set_service(arg)
        case "no service":
            offered.pop(arg, None)
            return compiler.remove_service("default", arg)
        case "slice":
            listed[arg.name] = arg
            return compiler.set_slice(arg)
        case _:
            listed.pop(arg, None)
            return compiler.remove_slice("default", arg)


@given(st.lists(any_nodes(), max_size=6), settings)
def test_every_cause_and_every_problem_names_an_object_of_the_cluster(
    nodes: list[Node], chosen: Settings
) -> None:
    cluster = cluster_of(nodes)
    states, problems = compile_cluster(chosen, cluster)
    known = {node.ref for node in cluster.nodes.values()}
    for state in states.values():
        assert {cause.ref for cause in causes(state)} <= known
    assert {problem.cause.ref for problem in problems} <= known


@given(st.lists(any_nodes(), max_size=6), settings)
def test_a_prefix_that_two_nodes_claim_is_a_problem_and_the_older_node_keeps_it(
    nodes: list[Node], chosen: Settings
) -> None:
    cluster = cluster_of(nodes)
    _, problems = compile_cluster(chosen, cluster)
    by_prefix: dict[object, list[Node]] = {}
    for node in cluster.nodes.values():
        for prefix in node.networks:
            by_prefix.setdefault(prefix, []).append(node)
    reachable = [n for n in cluster.nodes.values() if n.addresses]
    for prefix, owners in by_prefix.items():
        rivals = [n for n in owners if n in reachable and n.address(prefix.version)]  # type: ignore[attr-defined]
        if len(rivals) > 1 and len({n.addresses for n in rivals}) == len(rivals):
            oldest = min(rivals, key=lambda n: (n.created, n.ref))
            blamed = {problem.cause.ref for problem in problems}
            assert blamed & {n.ref for n in rivals if n is not oldest}


@given(sound_clusters(), sound_clusters(), settings)
def test_applying_a_diff_gives_the_desired_tables_and_a_second_diff_is_empty(
    before: Cluster, after: Cluster, chosen: Settings
) -> None:
    old = values(compile_cluster(chosen, before)[0].get(HERE, {}))
    new = compile_cluster(chosen, after)[0].get(HERE, {})
    changes = ordered(diff(new, old))
    result = applied(old, changes)
    assert result == values(new)
    assert diff(new, result) == ()
    assert sorted(map(str, changes)) == sorted(map(str, diff(new, old)))


@given(sound_clusters(), settings)
def test_tables_do_not_depend_on_the_order_of_objects(cluster: Cluster, chosen: Settings) -> None:
    here = cluster.nodes[HERE]
    nodes, pods = list(cluster.nodes.values()), workloads_on(cluster, HERE)
    forwards = compile_node(chosen, here, nodes, pods)
    assert compile_node(chosen, here, reversed(nodes), reversed(pods)) == forwards

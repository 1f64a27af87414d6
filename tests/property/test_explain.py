"""Explanations over random clusters: they say what the spec and the whole cluster's tables do."""

from ipaddress import ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.compile.node import compile_cluster
from steppe.dataplane.nft.sets import EGRESS, INGRESS
from steppe.ends.target import NodeTarget, PodTarget, RangeTarget, ServiceTarget, Target
from steppe.explain.cluster_part import part_for
from steppe.explain.explain import Explainer
from steppe.explain.model import Flow
from steppe.explain.tables import compiled, unnumbered
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Pod
from steppe.kube.policies import Namespace
from steppe.kube.services import Endpoint, EndpointSlice
from steppe.net.address import host_prefix, of_version
from steppe.net.packet import Packet
from steppe.oracle.network import promise
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import world_of
from steppe.settings import Settings
from steppe.walk.trace import Met, Trace
from steppe.walk.walk import Walker
from tests import policy_worlds
from tests.conformance.netpol_walk import _placed
from tests.service_worlds import services
from tests.worlds import FAMILIES, OUTSIDE, node_at, pod_on

PROBED = (("TCP", 80), ("TCP", 8080), ("UDP", 53), ("SCTP", 3868), ("ICMP", 0), ("TCP", 30080))


@st.composite
def policy_clusters(draw: st.DrawFn, *, tiers: bool) -> Cluster:
    world = draw(policy_worlds.worlds())
    pods = {pod.ref: pod for pod in world.pods.values()}
    return cluster_of(
        [_placed(node, world) for node in world.nodes.values()],
        pods.values(),
        world.namespaces.values(),
        world.network_policies,
        cluster_policies=world.cluster_policies if tiers else (),
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Everything at once: nodes of one or two families, policies, Services, odd endpoints."""
    families = draw(st.sampled_from(FAMILIES))
    nodes = [node_at(number, 0, families) for number in range(draw(st.integers(1, 3)))]
    pods: list[Pod] = []
    for number in range(draw(st.integers(1, 4))):
        pod = pod_on(nodes[number % len(nodes)], number)
        labels = draw(policy_worlds.labels)
        pods.append(msgspec.structs.replace(pod, namespace="x", labels=labels))
    ends = [a for pod in pods for a in pod.addresses] + list(OUTSIDE)
    ends += [a for node in nodes for a in node.addresses]
    found = {service.name: service for service in draw(st.lists(services(), max_size=3))}
    slices = []
    for name in found:
        for version in (4, 6):
            held = [a for a in ends if a.version == version]
            chosen = draw(st.lists(st.sampled_from(held), max_size=3, unique=True)) if held else []
            endpoints = tuple(
                Endpoint(
                    address,
                    next((p.node for p in pods if address in p.addresses), ""),
                    draw(st.booleans()),
                )
                for address in chosen
            )
            ports = (("http", "TCP", 8080), ("dns", "UDP", 53), ("assoc", "SCTP", 3868))
            slices.append(EndpointSlice("default", f"{name}-{version}", name, ports, endpoints))
    policies = [
        draw(policy_worlds.network_policies(f"p{n}")) for n in range(draw(st.integers(0, 3)))
    ]
    return cluster_of(
        nodes,
        pods,
        [Namespace(name, draw(policy_worlds.labels)) for name in policy_worlds.NAMESPACES],
        [msgspec.structs.replace(policy, namespace="x") for policy in policies],
        cluster_policies=[
            draw(policy_worlds.cluster_policies(f"c{n}")) for n in range(draw(st.integers(0, 2)))
        ],
        services=found.values(),
        slices=slices,
    )


def targets(cluster: Cluster) -> list[Target]:
    return [
        *(PodTarget(pod, pod.addresses) for pod in cluster.pods.values()),
        *(NodeTarget(node, node.addresses) for node in cluster.nodes.values()),
        *(RangeTarget(str(address), (host_prefix(address),)) for address in OUTSIDE),
    ]


def flows(cluster: Cluster) -> list[Flow]:
    ends = targets(cluster)
    served = [ServiceTarget(s, s.cluster_ips) for s in cluster.services.values() if s.cluster_ips]
    return [
        Flow(source, destination, protocol, port)  # type: ignore[arg-type]
        for source in ends
        for destination in (*ends, *served)
        if source != destination
        and not (isinstance(source, RangeTarget) and isinstance(destination, RangeTarget))
        and _families(source) & _families(destination)
        for protocol, port in PROBED
    ]


def _families(end: Target) -> set[int]:
    held = end.prefixes if isinstance(end, RangeTarget) else end.addresses
    return {each.version for each in held}


@settings(max_examples=15, deadline=None)
@given(policy_clusters(tiers=True))
def test_a_verdict_is_the_specs(cluster: Cluster) -> None:
    explainer = Explainer(cluster)
    world = world_of(
        cluster.pods.values(),
        cluster.namespaces.values(),
        cluster.nodes.values(),
        cluster.network_policies.values(),
        cluster.cluster_policies.values(),
    )
    for flow in flows(cluster):
        for case in explainer.explain(flow).cases:
            packet = case.packet
            arrives = promise(cluster, packet).kind != "dropped"
            allowed = arrives and verdict(world, packet).allowed
            assert (case.kind == "allowed") == allowed, packet


@settings(max_examples=40, deadline=None)
@given(clusters(), st.data())
def test_tables_and_promises_agree(cluster: Cluster, data: st.DataObject) -> None:
    promised, tables = Explainer(cluster), Explainer(cluster, compiled(Settings(fabric="vxlan")))
    chosen = st.lists(st.sampled_from(flows(cluster)), min_size=1, max_size=25, unique_by=id)
    for flow in data.draw(chosen):
        walked = tables.explain(flow)
        assert walked.conflicts == (), flow
        assert walked.kind == promised.explain(flow).kind


PEERS = (INGRESS.peer, EGRESS.peer)


def told(trace: Trace) -> Trace:
    """The trace without what other flows decide: which identity a peer has, and if it has one."""
    steps = (
        msgspec.structs.replace(step, what=unnumbered(step.what))
        for step in trace.steps
        if not (isinstance(step.what, Met) and any(peers.matches(step.what.key) for peers in PEERS))
    )
    return msgspec.structs.replace(trace, steps=tuple(steps))


@settings(max_examples=25, deadline=None)
@given(clusters(), st.sampled_from(["direct", "vxlan"]), st.data())
def test_the_part_of_a_flow_answers_as_the_whole_cluster_does(
    cluster: Cluster, fabric: str, data: st.DataObject
) -> None:
    chosen = Settings(fabric=fabric)  # type: ignore[arg-type]
    states, _ = compile_cluster(chosen, cluster)
    walker, explainer = Walker(cluster, states), Explainer(cluster, compiled(chosen))
    some = st.lists(st.sampled_from(flows(cluster)), min_size=1, max_size=25, unique_by=id)
    for flow in data.draw(some):
        for case in explainer.explain(flow).cases:
            part = part_for(explainer.cluster, [case])
            own, _ = compile_cluster(chosen, part)
            whole = walker.walks(case.packet, case.entering)
            found = Walker(part, own).walks(case.packet, case.entering)
            assert [*map(told, found)] == [*map(told, whole)]


@settings(max_examples=15, deadline=None)
@given(policy_clusters(tiers=True), st.data())
def test_a_range_is_judged_as_each_of_its_addresses(cluster: Cluster, data: st.DataObject) -> None:
    """Outside senders reach nodes alone, so a node port stands in front of every pod."""
    explainer = Explainer(cluster)
    pods = list(cluster.pods.values())
    pod = data.draw(st.sampled_from(pods))
    whole = RangeTarget("10.244.0.0/15", (ip_network("10.244.0.0/15"),))
    flow = Flow(PodTarget(pod, pod.addresses), whole, "TCP", 80)
    parts = {case.stands_for: case.kind for case in explainer.explain(flow).cases}
    address = data.draw(st.ip_addresses(network=ip_network("10.244.0.0/15")))
    if any(address in prefix for node in cluster.nodes.values() for prefix in node.networks):
        return
    longest = max(
        (ip_network(name) for name in parts if address in ip_network(name)),
        key=lambda prefix: prefix.prefixlen,
    )
    own = of_version(pod.addresses, 4)
    assert own is not None
    world = world_of(
        cluster.pods.values(),
        cluster.namespaces.values(),
        cluster.nodes.values(),
        cluster.network_policies.values(),
        cluster.cluster_policies.values(),
    )
    allowed = verdict(world, Packet(own, address, "TCP", 40000, 80)).allowed
    assert (parts[str(longest)] == "allowed") == allowed


@settings(max_examples=20, deadline=None)
@given(policy_clusters(tiers=True))
def test_a_no_names_who_says_it_and_a_change_that_is_shown_opens_it(cluster: Cluster) -> None:
    explainer = Explainer(cluster)
    for flow in flows(cluster)[:60]:
        said = explainer.explain(flow)
        for path in (path for case in said.cases for path in case.paths if path.fate == "denied"):
            assert path.decisive
        between_pods = isinstance(flow.source, PodTarget) and isinstance(
            flow.destination, PodTarget
        )
        if said.kind != "allowed" and between_pods and not cluster.cluster_policies:
            assert said.changes, said.verdict

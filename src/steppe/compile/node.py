"""The table of contents: what each object of the cluster puts into one node's tables.

Four kinds of object matter to a node, each compiled to a block of claims by itself:

    its own Node      local_block      forwarding, own prefix, tunnel device, masquerading
    any other Node    peer_block       how to reach its pods, by the fabric
    a pod of its own  workload_block   the host side of the pod's link
    a Service         service_block    its addresses, and what each leads to

What policies ask for depends on more than one object: policy_claims (compile/policy_tables.py).
"""

from collections.abc import Iterable, Iterator

from steppe.compile.local import local_claims
from steppe.compile.pod import workload_claims
from steppe.compile.policy_tables import PolicyObjects, policy_claims
from steppe.dataplane.registry import POLICIES, data_plane
from steppe.fabric.registry import fabric_of
from steppe.kube.cause import Problem
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.service.backends import Vantage, service_table
from steppe.service.ownership import FrontendOwners
from steppe.settings import Settings
from steppe.state.node import NodeClaim, NodeState, settle
from steppe.state.workload import workloads_on


def local_block(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """What the node's own object asks for."""
    yield from local_claims(here)
    if here.prefixes:
        yield from fabric_of(settings).devices(settings, here)
    yield from data_plane(settings).own_node(settings, here)
    if settings.policies:
        yield from POLICIES.known(here)


def peer_block(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """What one other node asks for."""
    yield from fabric_of(settings).towards(settings, here, peer)
    yield from data_plane(settings).other_node(settings, peer)


def workload_block(
    settings: Settings, here: Node, workload: Workload
) -> Iterator[NodeClaim | Problem]:
    """What one attached pod asks for."""
    yield from workload_claims(workload, fabric_of(settings).mtu(settings, here))
    if settings.services:
        yield from data_plane(settings).pod(workload)


def service_block(
    settings: Settings,
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    owners: FrontendOwners,
) -> Iterator[NodeClaim | Problem]:
    """What one Service and its EndpointSlices ask for; `owners` has the owner of each frontend."""
    if settings.services:
        table = service_table(vantage, service, slices, owners.owner)
        yield from table.problems
        yield from data_plane(settings).service(table)


def service_range_block(settings: Settings, known: ServiceRange) -> Iterator[NodeClaim | Problem]:
    """What one range of cluster IPs asks for, on every node the same."""
    return data_plane(settings).service_range(known)


def compile_node(
    settings: Settings,
    here: Node,
    nodes: Iterable[Node],
    workloads: Iterable[Workload],
    services: Iterable[tuple[Service, Iterable[EndpointSlice]]] = (),
    *,
    policies: PolicyObjects = PolicyObjects(),  # noqa: B008 - it is frozen
    ranges: Iterable[ServiceRange] = (),
) -> tuple[NodeState, tuple[Problem, ...]]:
    """All tables of one node from scratch, and all Problems on the way."""
    known_nodes = tuple(nodes)

    def blocks() -> Iterator[NodeClaim | Problem]:
        yield from local_block(settings, here)
        for node in known_nodes:
            if node.name != here.name:
                yield from peer_block(settings, here, node)
        attached = tuple(workloads)
        for workload in attached:
            yield from workload_block(settings, here, workload)
        if settings.policies:
            yield from policy_claims(policies, known_nodes, attached)
        for range_ in ranges if settings.services else ():
            yield from service_range_block(settings, range_)
        known = tuple(services)
        vantage = Vantage.of(here, settings.node_port_addresses)
        owners = FrontendOwners.of(vantage, (service for service, _ in known))
        for service, slices in known:
            yield from service_block(settings, vantage, service, slices, owners)

    return settle(blocks())


def compile_cluster(
    settings: Settings, cluster: Cluster
) -> tuple[dict[str, NodeState], tuple[Problem, ...]]:
    """Every node's tables, for readers that look at the whole cluster: walk, show, explain."""
    states: dict[str, NodeState] = {}
    problems: dict[Problem, None] = {}
    policies = PolicyObjects(
        tuple(cluster.pods.values()),
        tuple(cluster.namespaces.values()),
        tuple(cluster.network_policies.values()),
        tuple(cluster.cluster_policies.values()),
    )
    services = tuple(cluster.services_with_slices())
    for here in cluster.nodes.values():
        states[here.name], found = compile_node(
            settings,
            here,
            cluster.nodes.values(),
            workloads_on(cluster, here.name),
            services,
            policies=policies,
            ranges=cluster.service_ranges.values(),
        )
        problems.update(dict.fromkeys(found))
    return states, tuple(sorted(problems))

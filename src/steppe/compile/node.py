"""What each object of the cluster puts into one node's tables; start reading here.

Five kinds of object matter to a node. The claims of each object are compiled by themselves:

    its own Node      claims_of_own_node  forwarding, own prefix, tunnel device, masquerading
    any other Node    claims_of_peer      how to reach its pods, by the fabric
    a pod of its own  claims_of_workload  the host side of the pod's link
        a Service         claims_of_service   its frontends and their backends
        a ServiceCIDR     claims_of_service_range   where cluster IPs are taken from

    The claims of policies depend on more than one object: policy_claims (compile/policy_tables.py).
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


def claims_of_own_node(settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
    """The claims of the node's own object."""
    yield from local_claims(here)
    if here.prefixes:
        yield from fabric_of(settings).devices(settings, here)
    yield from data_plane(settings).own_node(settings, here)
    if settings.policies:
        yield from POLICIES.known(here)


def claims_of_peer(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The claims of one other node."""
    yield from fabric_of(settings).towards(settings, here, peer)
    yield from data_plane(settings).other_node(settings, peer)


def claims_of_workload(
    settings: Settings, here: Node, workload: Workload
) -> Iterator[NodeClaim | Problem]:
    """The claims of one attached pod."""
    yield from workload_claims(workload, fabric_of(settings).mtu(settings, here))
    if settings.services:
        yield from data_plane(settings).pod(workload)


def claims_of_service(
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


def claims_of_service_range(
    settings: Settings, known: ServiceRange
) -> Iterator[NodeClaim | Problem]:
    """The claims of one range of cluster IPs, the same on every node."""
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
    """All tables of one node compiled from scratch, and all Problems found."""
    known_nodes = tuple(nodes)

    def all_claims() -> Iterator[NodeClaim | Problem]:
        yield from claims_of_own_node(settings, here)
        for node in known_nodes:
            if node.name != here.name:
                yield from claims_of_peer(settings, here, node)
        attached = tuple(workloads)
        for workload in attached:
            yield from claims_of_workload(settings, here, workload)
        if settings.policies:
            yield from policy_claims(policies, known_nodes, attached)
        for range_ in ranges if settings.services else ():
            yield from claims_of_service_range(settings, range_)
        known = tuple(services)
        vantage = Vantage.of(here, settings.node_port_addresses)
        owners = FrontendOwners.of(vantage, (service for service, _ in known))
        for service, slices in known:
            yield from claims_of_service(settings, vantage, service, slices, owners)

    return settle(all_claims())


def compile_cluster(
    settings: Settings, cluster: Cluster
) -> tuple[dict[str, NodeState], tuple[Problem, ...]]:
    """Every node's tables by node name, and all Problems, for what needs the whole cluster."""
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

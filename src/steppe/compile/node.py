"""What each object of the cluster puts into one node's tables; start reading here.

Five kinds of object matter to a node. The claims of each object are compiled by themselves:

    its own Node      claims_of_own_node  forwarding, own prefix, tunnel device, masquerading
    any other Node    claims_of_peer      how to reach its pods, by the fabric
    a pod of its own  claims_of_workload  the host side of the pod's link
        a Service         claims_of_service   its frontends and their backends
        a ServiceCIDR     claims_of_service_range   where cluster IPs are taken from

    The claims of policies depend on more than one object: policy_claims (compile/policy_tables.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Self

import msgspec

from steppe.compile.local import connection_claims, lacks_prefix, local_claims
from steppe.compile.pod import workload_claims
from steppe.compile.policy_tables import PolicyObjects, policy_claims
from steppe.dataplane.registry import EDGES, POLICIES, data_plane
from steppe.fabric.registry import fabric_of
from steppe.kube.cause import Problem
from steppe.kube.claims import Claimant, NodeClaims
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Workload
from steppe.kube.services import EndpointSlice, Service, ServiceRange
from steppe.service.backends import Vantage, service_parts, service_table
from steppe.service.claims import ServiceClaims
from steppe.service.ownership import FrontendOwners
from steppe.settings import Settings
from steppe.state.node import NodeClaim, NodeState, settle
from steppe.state.workload import workloads_on


def claims_of_own_node(
    settings: Settings, here: Node, refused: tuple[Problem, ...] = ()
) -> Iterator[NodeClaim | Problem]:
    """What the node's own object asks for; `refused` says what of it is somebody else's."""
    yield from refused
    if not (here.prefixes or refused):
        yield lacks_prefix(here)
    yield from local_claims(here)
    if settings.services:
        yield from connection_claims(here)
    if here.prefixes:
        fabric = fabric_of(settings)
        yield from fabric.devices(settings, here)
        for tunnel in fabric.tunnels(settings):
            yield from EDGES.tunnel(tunnel.link, tunnel.protocol, tunnel.port, here)
    yield from data_plane(settings).own_node(settings, here)
    if settings.policies:
        yield from POLICIES.known(here)


def claims_of_peer(settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
    """The claims of one other node."""
    yield from fabric_of(settings).towards(settings, here, peer)
    yield from claims_of_any_peer(settings, peer)


def claims_of_any_peer(settings: Settings, peer: Node) -> Iterator[NodeClaim | Problem]:
    """What all other nodes hold alike of one node."""
    if fabric_of(settings).tunnels(settings):
        yield from EDGES.tunnel_peer(peer)
    yield from data_plane(settings).other_node(settings, peer)


def claims_of_workload(
    settings: Settings, here: Node, workload: Workload
) -> Iterator[NodeClaim | Problem]:
    """The claims of one attached pod."""
    yield from workload_claims(workload, fabric_of(settings).mtu(settings, here))
    yield from EDGES.pod(workload)
    stray = tuple(each for each in workload.addresses if not here.has_pods_at(each))
    if stray:
        yield from data_plane(settings).pod_outside(settings, workload, stray)
    if settings.services:
        yield from data_plane(settings).pod(workload)


def claims_of_service(
    settings: Settings,
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    owners: FrontendOwners,
    *,
    at_once: bool = True,
) -> Iterator[NodeClaim | Problem]:
    """What one Service and its EndpointSlices ask for; `owners` has the owner of each frontend.

    Unless `at_once`, each frontend's backends are looked for when its claims are asked for.
    """
    if settings.services:
        given = (vantage, service, slices, owners.owner)
        for table in (service_table(*given),) if at_once else service_parts(*given):
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
    """All tables of one node from scratch, and all Problems on the way."""
    world = _World.of(settings, (here, *nodes), services, ranges)
    return settle(_claims(world, here.name, tuple(workloads), policies))


class _World(msgspec.Struct, frozen=True):
    """What a node's tables depend on beside its own pods, and who may have what of it."""

    settings: Settings
    nodes: Mapping[str, Node]
    services: tuple[tuple[Service, tuple[EndpointSlice, ...]], ...]
    ranges: tuple[ServiceRange, ...]
    claims: NodeClaims
    offers: ServiceClaims
    of_peers: Mapping[str, tuple[NodeClaim | Problem, ...]]
    """By node: what all others hold alike of it."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        nodes: Iterable[Node],
        services: Iterable[tuple[Service, Iterable[EndpointSlice]]],
        ranges: Iterable[ServiceRange],
        *,
        granted: bool = False,
    ) -> Self:
        by_name = {node.name: node for node in nodes}
        known = tuple((service, tuple(slices)) for service, slices in services)
        kept = tuple(ranges)
        # Claims that nobody has made refuse nothing.
        asking: tuple[Claimant, ...] = () if granted else (*by_name.values(), *kept)
        claims = NodeClaims.of(settings.pod_ranges, asking)
        offers = ServiceClaims.of(claims, settings.external_ips, () if granted else known)
        of_peers = {
            name: tuple(claims_of_any_peer(settings, claims.node(node)))
            for name, node in by_name.items()
        }
        return cls(settings, by_name, known, kept, claims, offers, of_peers)


def _claims(
    world: _World, name: str, attached: tuple[Workload, ...], policies: PolicyObjects
) -> Iterator[NodeClaim | Problem]:
    """All claims of one node, with a Problem for all that is refused."""
    return chain.from_iterable(_blocks(world, name, attached, policies))


def _blocks(
    world: _World, name: str, attached: tuple[Workload, ...], policies: PolicyObjects
) -> Iterator[Iterable[NodeClaim | Problem]]:
    """The same, for each object by itself."""
    settings, claims = world.settings, world.claims
    here = claims.own_node(world.nodes[name])
    peers = tuple(claims.node(node) for node in world.nodes.values() if node.name != name)
    yield claims_of_own_node(settings, here, claims.problems(here.ref))
    for peer in peers:
        yield fabric_of(settings).towards(settings, here, peer)
        yield world.of_peers[peer.name]
        yield claims.problems(peer.ref)
    for workload in attached:
        yield claims_of_workload(settings, here, workload)
    if settings.policies:
        yield policy_claims(policies, (here, *peers), attached)
    if settings.services:
        yield from _service_blocks(world, here)


def _service_blocks(world: _World, here: Node) -> Iterator[Iterable[NodeClaim | Problem]]:
    for known in world.ranges:
        yield claims_of_service_range(world.settings, world.claims.service_range(known))
        yield world.claims.problems(known.ref)
    vantage = Vantage.of(here, world.settings.node_port_addresses)
    given = [(world.offers.service(service), slices) for service, slices in world.services]
    owners = FrontendOwners.of(vantage, (service for service, _ in given))
    for service, slices in given:
        yield claims_of_service(world.settings, vantage, service, slices, owners)
    for service, _ in world.services:
        yield world.offers.problems(service)


def compile_cluster(
    settings: Settings, cluster: Cluster, *, granted: bool = False
) -> tuple[dict[str, NodeState], tuple[Problem, ...]]:
    """Every node's tables by node name, and all Problems, for what needs the whole cluster.

    `granted`: what may not be had is out of the cluster already (service/granted.py), so it is not
    worked out again.
    """
    states: dict[str, NodeState] = {}
    problems: dict[Problem, None] = {}
    policies = PolicyObjects(
        tuple(cluster.pods.values()),
        tuple(cluster.namespaces.values()),
        tuple(cluster.network_policies.values()),
        # Agents follow no older kind of it (kube/admin_policies.py).
        tuple(p for p in cluster.cluster_policies.values() if p.kind == "ClusterNetworkPolicy"),
    )
    world = _World.of(
        settings,
        cluster.nodes.values(),
        cluster.services_with_slices(),
        cluster.service_ranges.values(),
        granted=granted,
    )
    for name in cluster.nodes:
        states[name], found = settle(_claims(world, name, workloads_on(cluster, name), policies))
        problems.update(dict.fromkeys(found))
    return states, tuple(sorted(problems))

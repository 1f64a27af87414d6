"""A cluster with what its objects may have of what they ask for, for whoever looks at all of it.

Agents follow events instead (compile/incremental.py); the rules are the same (kube/claims.py,
service/claims.py), and a cluster that has gone through them once stays as it is.
"""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Problem
from steppe.kube.claims import Claimant, NodeClaims
from steppe.kube.cluster import Cluster, Name
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.policies import NetworkPolicy
from steppe.kube.policy_budget import affordable
from steppe.service.claims import ServiceClaims
from steppe.service.limits import fitting
from steppe.settings import Settings


def granted(cluster: Cluster, settings: Settings) -> tuple[Cluster, tuple[Problem, ...]]:
    """The cluster without what is refused, and a Problem for each such part."""
    asking: tuple[Claimant, ...] = (*cluster.nodes.values(), *cluster.service_ranges.values())
    claims = NodeClaims.of(settings.pod_ranges, asking)
    services = tuple(cluster.services_with_slices())
    offers = ServiceClaims.of(claims, settings.external_ips, services)
    near, admin, crowd = _policies(cluster)
    fitted = {s.ref: fitting(offers.service(s), slices) for s, slices in services}

    def problems() -> Iterator[Problem]:
        for each in asking:
            yield from claims.problems(each.ref)
        for service in cluster.services.values():
            yield from offers.problems(service)
            yield from fitted[service.ref][1]
        yield from crowd

    given = msgspec.structs.replace(
        cluster,
        nodes={name: claims.node(node) for name, node in cluster.nodes.items()},
        service_ranges={n: claims.service_range(r) for n, r in cluster.service_ranges.items()},
        network_policies=near,
        cluster_policies=admin,
        services={name: fitted[each.ref][0] for name, each in cluster.services.items()},
    )
    return given, tuple(sorted(problems()))


def _policies(
    cluster: Cluster,
) -> tuple[dict[Name, NetworkPolicy], dict[str, ClusterNetworkPolicy], list[Problem]]:
    """The policies, with those closed that are too much together, and a Problem for each."""
    near: dict[Name, NetworkPolicy] = {}
    problems: list[Problem] = []
    for namespace in sorted({space for space, _ in cluster.network_policies}):
        kept, found = affordable(cluster.policies_in(namespace))
        near |= {(policy.namespace, policy.name): policy for policy in kept}
        problems += found
    admins, found = affordable(cluster.cluster_policies.values())
    return near, {policy.name: policy for policy in admins}, [*problems, *found]

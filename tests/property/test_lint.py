"""A rule that lint calls covered can go, and nothing changes: over small clusters, exhaustively."""

import msgspec
from hypothesis import given, settings

from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.policies import NetworkPolicy
from steppe.lint.lint import lint
from steppe.manifests.cluster import Loaded
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World
from tests.policy_worlds import packets_of, worlds
from tests.property.test_reach import cluster_in

Policy = NetworkPolicy | ClusterNetworkPolicy


def without(policy: Policy, fields: set[str]) -> Policy:
    return msgspec.structs.replace(
        policy,
        ingress=tuple(rule for rule in policy.ingress if rule.field not in fields),
        egress=tuple(rule for rule in policy.egress if rule.field not in fields),
    )


def answers(world: World) -> list[bool]:
    return [verdict(world, packet).allowed for packet in packets_of(world)]


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_covered_rules_can_go_all_at_once(world: World) -> None:
    idle: dict[str, set[str]] = {}
    for found in lint(Loaded(cluster_in(world))):
        if found.check == "already-covered":
            idle.setdefault(str(found.cause.ref), set()).add(found.cause.field)
    after = msgspec.structs.replace(
        world,
        network_policies=tuple(
            without(p, idle.get(str(p.ref), set())) for p in world.network_policies
        ),
        cluster_policies=tuple(
            without(p, idle.get(str(p.ref), set())) for p in world.cluster_policies
        ),
    )
    assert answers(after) == answers(world)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_policies_that_select_nothing_can_go(world: World) -> None:
    found = lint(Loaded(cluster_in(world)))
    idle = {str(f.cause.ref) for f in found if f.check == "selects-nothing"}
    after = msgspec.structs.replace(
        world,
        network_policies=tuple(p for p in world.network_policies if str(p.ref) not in idle),
        cluster_policies=tuple(p for p in world.cluster_policies if str(p.ref) not in idle),
    )
    assert answers(after) == answers(world)

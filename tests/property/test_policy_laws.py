"""Laws that the spec of policies keeps, over random worlds."""

from ipaddress import ip_address

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.kube.policies import Pods
from steppe.kube.selectors import Requirement, Selector
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.oracle.policy import verdict
from steppe.oracle.policy_match import World
from tests.policy_worlds import cluster_policies, network_policies, packets_of, worlds

FEW = settings(max_examples=40, deadline=None)
NOBODY = Selector((Requirement("app", "In", frozenset(("nobody",))),))


def verdicts(world: World) -> dict[Packet, bool]:
    return {packet: verdict(world, packet).allowed for packet in packets_of(world)}


def changed(world: World, **parts: object) -> World:
    return msgspec.structs.replace(world, **parts)


@FEW
@given(worlds(), network_policies("new"), cluster_policies("new"))
def test_a_policy_that_selects_nothing_changes_nothing(world, policy, cluster_policy) -> None:
    idle = msgspec.structs.replace(policy, pods=NOBODY)
    cluster_idle = msgspec.structs.replace(cluster_policy, subject=Pods(pods=NOBODY))
    grown = changed(
        world,
        network_policies=(*world.network_policies, idle),
        cluster_policies=(*world.cluster_policies, cluster_idle),
    )
    assert verdicts(grown) == verdicts(world)


@FEW
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_policies_does_not_matter(world, random) -> None:
    policies, cluster = list(world.network_policies), list(world.cluster_policies)
    random.shuffle(policies)
    random.shuffle(cluster)
    shuffled = changed(world, network_policies=tuple(policies), cluster_policies=tuple(cluster))
    for packet in packets_of(world):
        assert verdict(shuffled, packet) == verdict(world, packet)


@FEW
@given(worlds())
def test_without_policies_everything_is_allowed(world) -> None:
    bare = changed(world, network_policies=(), cluster_policies=())
    assert all(verdicts(bare).values())


@FEW
@given(worlds())
def test_both_families_behave_alike(world) -> None:
    """Every block of these worlds has a twin in the other family."""
    twins = {
        first: second
        for pod in world.pods.values()
        for first, second in (pod.addresses, pod.addresses[::-1])
    }
    for node in world.nodes.values():
        twins |= dict((node.addresses, node.addresses[::-1]))
    outside = ip_address("203.0.113.9"), ip_address("2001:db8:ffff::9")
    twins |= dict((outside, outside[::-1]))
    for packet in packets_of(world):
        twin = _between(packet, twins)
        assert verdict(world, twin) == verdict(world, packet)


def _between(packet: Packet, twins: dict[IPAddress, IPAddress]) -> Packet:
    source, destination = twins[packet.source], twins[packet.destination]
    return msgspec.structs.replace(packet, source=source, destination=destination)


@FEW
@given(worlds(), network_policies("new"))
def test_one_more_network_policy_never_opens_what_isolation_alone_would_not(world, policy) -> None:
    """What a new policy opens, one of its own rules allows, to a pod that was isolated before."""
    grown = changed(world, network_policies=(*world.network_policies, policy))
    for packet in packets_of(world):
        before, after = verdict(world, packet), verdict(grown, packet)
        for was, is_ in ((before.egress, after.egress), (before.ingress, after.ingress)):
            if is_.allowed and not was.allowed:
                assert policy.ref in {cause.ref for cause in is_.because} or was.by == "Baseline"


@FEW
@given(worlds())
def test_every_decision_of_a_policy_names_it(world) -> None:
    known = {policy.ref for policy in (*world.network_policies, *world.cluster_policies)}
    for packet in packets_of(world):
        found = verdict(world, packet)
        for decision in (found.egress, found.ingress):
            if not decision.allowed or decision.by in ("Admin", "NetworkPolicy", "Baseline"):
                assert decision.because
            assert {cause.ref for cause in decision.because} <= known


@FEW
@given(worlds())
def test_a_pod_reaches_itself_and_is_reached_by_its_own_node(world) -> None:
    for address, pod in world.pods.items():
        node = world.nodes[pod.node].address(address.version)
        for source in (address, node):
            assert verdict(world, Packet(source, address, "TCP", 40000, 80)).allowed

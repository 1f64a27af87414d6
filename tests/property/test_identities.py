"""Members of one identity get the same verdicts; an identity is what brute force says it is."""

from collections import defaultdict
from ipaddress import ip_address

import pytest
from hypothesis import given, settings

from steppe.kube.cause import Cause
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import (
    Anyone,
    Block,
    Direction,
    Namespace,
    NetworkPolicy,
    Pods,
    PortName,
    Rule,
)
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.net.address import IPAddress
from steppe.net.lpm import LongestPrefix
from steppe.net.packet import Packet
from steppe.oracle.policy import Decision, verdict
from steppe.oracle.policy_match import World, is_own_node, is_peer
from steppe.policy.identities import Identities, Identity
from tests.policy_worlds import OUTSIDE, PROBED, worlds

FEW = settings(max_examples=40, deadline=None)
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def identities_of(world: World, direction: Direction) -> Identities:
    return Identities(
        direction, world.network_policies, world.cluster_policies, world.namespaces.values()
    )


def rules_of(world: World, direction: Direction):
    for policy in (*world.network_policies, *world.cluster_policies):
        if direction in getattr(policy, "isolates", DIRECTIONS):
            for rule in policy.rules(direction):
                yield Cause(policy.ref, rule.field), rule


def edges(world: World, direction: Direction) -> set[IPAddress]:
    """The addresses where blocks begin and end, and those beside them."""
    found = set(OUTSIDE)
    for _, rule in rules_of(world, direction):
        for peer in rule.peers:
            if isinstance(peer, Block):
                for prefix in (peer.prefix, *peer.excepted):
                    first, last = int(prefix[0]), int(prefix[-1])
                    limit = 2**prefix.max_prefixlen
                    found |= {
                        type(prefix[0])(number)
                        for number in (first - 1, first, last, last + 1)
                        if 0 <= number < limit
                    }
    return found


def everybody(world: World, direction: Direction) -> dict[IPAddress, Identity]:
    identities = identities_of(world, direction)
    found = {address: identities.of_other(address) for address in edges(world, direction)}
    for node in world.nodes.values():
        found |= {address: identities.of_node(node, address) for address in node.addresses}
    return found | {address: identities.of_pod(p, address) for address, p in world.pods.items()}


def decision(
    world: World, direction: Direction, own: IPAddress, other: IPAddress, what
) -> Decision:
    protocol, port = what
    if direction == "ingress":
        return verdict(world, Packet(other, own, protocol, 40000, port)).ingress
    return verdict(world, Packet(own, other, protocol, 40000, port)).egress


@pytest.mark.parametrize("direction", DIRECTIONS)
@FEW
@given(world=worlds())
def test_members_of_one_identity_get_the_same_verdicts(direction, world) -> None:
    members: dict[tuple[int, Identity], list[IPAddress]] = defaultdict(list)
    for address, identity in everybody(world, direction).items():
        members[address.version, identity].append(address)
    for own, pod in world.pods.items():
        for (version, _), others in members.items():
            peers = [
                other
                for other in others
                if version == own.version
                and other not in pod.addresses
                and not is_own_node(world, pod, other)
            ]
            for what in PROBED:
                assert len({decision(world, direction, own, other, what) for other in peers}) <= 1


@pytest.mark.parametrize("direction", DIRECTIONS)
@FEW
@given(world=worlds())
def test_an_identity_is_the_set_of_rules_that_take_the_peer(direction, world) -> None:
    for address, identity in everybody(world, direction).items():
        assert identity.rules == {
            cause
            for cause, rule in rules_of(world, direction)
            if Anyone() not in rule.peers
            and any(is_peer(world, peer, address) for peer in rule.peers)
        }


@pytest.mark.parametrize("direction", DIRECTIONS)
@FEW
@given(world=worlds())
def test_the_prefixes_tell_the_identity_of_every_other_address(direction, world) -> None:
    identities = identities_of(world, direction)
    prefixes = identities.of_prefixes()
    table = LongestPrefix(prefixes.items())
    for address in edges(world, direction):
        found = table.lookup(address)
        assert found is not None
        assert found[1] == identities.of_other(address)
    for prefix, identity in prefixes.items():
        around = [p for p in prefixes if p != prefix and prefix.version == p.version]
        outer = max(
            (p for p in around if prefix.network_address in p and p.prefixlen < prefix.prefixlen),
            key=lambda p: p.prefixlen,
            default=None,
        )
        assert outer is None or prefixes[outer] != identity


def test_pods_that_differ_only_where_no_policy_looks_share_an_identity() -> None:
    """The point of it all: identities count policies' distinctions, not pods."""
    rule = Rule("spec.ingress[0]", (Pods(Selector((Requirement("app", "Exists"),))),), ())
    policy = NetworkPolicy("x", "p", EVERYTHING, frozenset(("ingress",)), (rule,))
    space = Namespace("x", {"app": "shop"})
    identities = Identities("ingress", [policy], [], [space, Namespace("y")])
    address = ip_address("10.244.1.2")
    found = [
        identities.of_pod(Pod(namespace, "p", labels=labels), address)
        for namespace, labels in (("x", {}), ("x", {"app": "web"}), ("y", {"app": "web"}))
    ]
    assert found[0] == found[1] == Identity(frozenset((Cause(policy.ref, rule.field),)))
    assert found[2] == identities.of_other(address) == Identity()


def test_a_named_port_tells_receivers_apart_only_where_a_rule_calls_it() -> None:
    rule = Rule("spec.egress[0]", (Anyone(),), (PortName("web", "TCP"),))
    policy = NetworkPolicy("x", "p", EVERYTHING, frozenset(("egress",)), egress=(rule,))
    identities = Identities("egress", [policy], [], [Namespace("x")])
    web, dns = NamedPort("web", "TCP", 80), NamedPort("dns", "UDP", 53)
    address = ip_address("10.244.1.2")
    assert identities.of_pod(Pod("x", "a", ports=(web, dns)), address) == Identity(
        ports=frozenset((web,))
    )
    assert identities.of_pod(Pod("x", "b", ports=(dns,)), address) == Identity()

"""Doubts by the ends that they concern, and what a policy may say at least and at most.

    least   what is allowed whatever the doubts come to
    most    what may be allowed

A connection is a yes if it is allowed at least, a no if it is not even allowed at most; between
the two it is unknown. So a doubt never makes a yes, and a no that needs no doubt stays a no.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster, Name
from steppe.kube.cluster_policies import ClusterRule
from steppe.kube.doubt import AddressInDoubt, Doubt, EndpointsInDoubt, PoliciesInDoubt
from steppe.kube.objects import Pod
from steppe.kube.policies import Block, Direction
from steppe.kube.services import Service
from steppe.net.address import IPNetwork, holds, parse_prefix
from steppe.policy.guards import Guard
from steppe.policy.identities import AnyPolicy, AnyRule, Rules, rules_of
from steppe.policy.pod_rules import matches_pod

Bound = Literal["least", "most"]
BOUNDS: tuple[Bound, ...] = ("least", "most")
_DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")

POD_NETWORKS = tuple(
    map(
        parse_prefix,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "2000::/3"),
    )
)
"""Where pods' addresses may lie: private and shared IPv4 (RFC 1918, RFC 6598), any unicast IPv6."""


class Doubts:
    """The doubts of one cluster.

    Invariant: what it answers depends on the cluster alone.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._policies = [d for d in cluster.doubts if isinstance(d.about, PoliciesInDoubt)]
        self._endpoints: dict[Name, list[Doubt]] = {}
        self._addresses: dict[Name, list[Doubt]] = {}
        for doubt in cluster.doubts:
            match doubt.about:
                case EndpointsInDoubt(namespace, service):
                    self._endpoints.setdefault((namespace, service), []).append(doubt)
                case AddressInDoubt(namespace, pod):
                    self._addresses.setdefault((namespace, pod), []).append(doubt)

    def policies(self, pod: Pod, direction: Direction) -> tuple[Doubt, ...]:
        """The doubts about what policies say of a pod."""
        if not self._policies:
            return ()
        namespace = self._cluster.namespaces.get(pod.namespace)
        return tuple(
            doubt
            for doubt in self._policies
            if isinstance(doubt.about, PoliciesInDoubt)
            and direction in doubt.about.directions
            and matches_pod(doubt.about.pods, pod, namespace)
        )

    def endpoints(self, service: Service) -> tuple[Doubt, ...]:
        """The doubts about which endpoints a Service has."""
        return tuple(self._endpoints.get((service.namespace, service.name), ()))

    def address(self, pod: Pod) -> tuple[Doubt, ...]:
        """The doubts about a pod's addresses."""
        if not self._addresses:
            return ()
        return tuple(self._addresses.get((pod.namespace, pod.name), ()))

    def bounded(self, guard: Guard, doubts: Iterable[Doubt], bound: Bound) -> Guard:
        """What policies that cannot be read may make of a guard, at least or at most.

        "Network policies do not conflict; they are additive": one more NetworkPolicy may isolate
        the pod or let more through, but never takes away what others let through. Policies of any
        other kind may do both.
        """
        unread = tuple(doubt.cause for doubt in doubts)
        if all(cause.ref.kind == "NetworkPolicy" for cause in unread):
            if bound == "most":
                return msgspec.structs.replace(guard, isolated=(), allowing=(), baseline=())
            return msgspec.structs.replace(guard, isolated=(*guard.isolated, *unread))
        return (
            Guard(guard.direction) if bound == "most" else Guard(guard.direction, isolated=unread)
        )

    def blocks(self, direction: Direction, version: int, bound: Bound) -> Rules:
        """The rules whose ipBlocks hold a pod's address that is not known, at least or at most."""
        return self._blocks[direction, version, bound]

    def passing(self, direction: Direction, version: int) -> Rules:
        """The rules of action Pass whose ipBlocks hold such an address or not. They may take away
        or give, as what they pass on to says, so they are in neither of `blocks`.
        """
        return self._passing[direction, version]

    @cached_property
    def _passing(self) -> Mapping[tuple[Direction, int], Rules]:
        return {
            (direction, version): frozenset(
                cause
                for cause, rule in self._rules(direction)
                if _is_pass(rule) and (*_holding(rule, version),) not in ((), BOUNDS)
            )
            for direction in _DIRECTIONS
            for version in (4, 6)
        }

    @cached_property
    def _blocks(self) -> Mapping[tuple[Direction, int, Bound], Rules]:
        found: dict[tuple[Direction, int, Bound], set[Cause]] = {}
        for direction in _DIRECTIONS:
            for version in (4, 6):
                for bound in BOUNDS:
                    found[direction, version, bound] = set()
            for cause, rule in self._rules(direction):
                for version in (4, 6):
                    if cause not in self.passing(direction, version):
                        for bound in _holding(rule, version):
                            found[direction, version, bound].add(cause)
        return {key: frozenset(causes) for key, causes in found.items()}

    def _rules(self, direction: Direction) -> Iterable[tuple[Cause, AnyRule]]:
        policies: list[AnyPolicy] = [
            *self._cluster.network_policies.values(),
            *self._cluster.cluster_policies.values(),
        ]
        return ((cause, rule) for each in policies for cause, rule in rules_of(each, direction))


def not_isolated(guard: Guard) -> Guard:
    """The guard with NetworkPolicies that allow everything that the Admin tier passes on."""
    if not guard.isolated:
        return guard
    return msgspec.structs.replace(guard, isolated=(), allowing=(), baseline=())


def _holding(rule: AnyRule, version: int) -> Iterable[Bound]:
    """The bounds at which a rule's blocks hold an unknown address of this family.

    A rule that denies takes away, so its doubt counts the other way round.
    """
    blocks = [p for p in rule.peers if isinstance(p, Block) and p.prefix.version == version]
    networks = [network for network in POD_NETWORKS if network.version == version]
    surely = any(all(_has(block, network) for network in networks) for block in blocks)
    perhaps = any(_may_meet(block, network) for block in blocks for network in networks)
    denies = isinstance(rule, ClusterRule) and rule.action == "Deny"
    if surely:
        return BOUNDS
    if not perhaps:
        return ()
    return ("least",) if denies else ("most",)


def _is_pass(rule: AnyRule) -> bool:
    return isinstance(rule, ClusterRule) and rule.action == "Pass"


def _has(block: Block, network: IPNetwork) -> bool:
    return holds(block.prefix, network) and not any(
        network.overlaps(out) for out in block.excepted if out.version == network.version
    )


def _may_meet(block: Block, network: IPNetwork) -> bool:
    overlap = block.prefix if holds(network, block.prefix) else network
    return block.prefix.overlaps(network) and not any(holds(out, overlap) for out in block.excepted)

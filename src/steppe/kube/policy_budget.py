"""How much the policies of one namespace may ask of nodes together; the largest beyond it close.

Each policy alone is within its limits (kube/policy_limits.py). A function of the objects alone, so
that agents and whoever looks at a cluster close the same ones. ClusterNetworkPolicies have a budget
of their own, all together.

    entries     20,000     rules, ports (four times), peers, `except` entries, values of selectors
    port pairs  1,000,000  rules times ports: each kind of peers may have ports of its own
    overlaps    1,500,000  rules that name blocks, times the prefixes they name
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy, closed_rules
from steppe.kube.policies import Block, NetworkPolicy, Nodes, Pods
from steppe.kube.selectors import Selector

MAX_ENTRIES, MAX_PORT_PAIRS, MAX_OVERLAPS = 20_000, 1_000_000, 1_500_000
P = TypeVar("P", NetworkPolicy, ClusterNetworkPolicy)


class Size(msgspec.Struct, frozen=True, order=True):
    """What a policy asks for; the sum of several is what they ask for together."""

    entries: int = 0
    rules: int = 0
    ports: int = 0
    block_rules: int = 0
    prefixes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(
            self.entries + other.entries,
            self.rules + other.rules,
            self.ports + other.ports,
            self.block_rules + other.block_rules,
            self.prefixes + other.prefixes,
        )

    def __sub__(self, other: "Size") -> "Size":
        return Size(
            self.entries - other.entries,
            self.rules - other.rules,
            self.ports - other.ports,
            self.block_rules - other.block_rules,
            self.prefixes - other.prefixes,
        )

    @property
    def fits(self) -> bool:
        return (
            self.entries <= MAX_ENTRIES
            and self.rules * self.ports <= MAX_PORT_PAIRS
            and self.block_rules * self.prefixes <= MAX_OVERLAPS
        )


def size_of(policy: NetworkPolicy | ClusterNetworkPolicy) -> Size:
    rules = (*policy.ingress, *policy.egress)
    ports = sum(len(rule.ports) for rule in rules)
    values = prefixes = peers = block_rules = 0
    for rule in rules:
        before = prefixes
        for peer in rule.peers:
            peers += 1
            if isinstance(peer, Block):
                prefixes += 1 + len(peer.excepted)
            elif isinstance(peer, Pods):
                values += _values(peer.pods) + _values(peer.namespaces)
            elif isinstance(peer, Nodes):
                values += _values(peer.nodes)
        block_rules += prefixes > before
    # All ports of a pod are compared with each other in one step.
    entries = len(rules) + 4 * ports + peers + prefixes + values
    return Size(entries, len(rules), ports, block_rules, prefixes)


def _values(selector: Selector) -> int:
    return sum(1 + len(each.values) for each in selector.requirements)


def too_much(sizes: Mapping[ObjectRef, Size]) -> frozenset[ObjectRef]:
    """Which of these policies are closed, so that the others fit: the largest, then by name."""
    total = Size()
    for each in sizes.values():
        total += each
    if total.fits:
        return frozenset()
    kept = Size()
    ordered = sorted(sizes, key=lambda ref: (sizes[ref], ref))
    for index, ref in enumerate(ordered):
        kept += sizes[ref]
        if not kept.fits:
            return frozenset(ordered[index:])
    return frozenset()


def closed(policy: P) -> P:
    """The policy without rules of its own: it lets nothing through, where it had any to say."""
    if isinstance(policy, NetworkPolicy):
        return msgspec.structs.replace(policy, ingress=(), egress=())
    return msgspec.structs.replace(
        policy,
        ingress=closed_rules() if policy.ingress else (),
        egress=closed_rules() if policy.egress else (),
    )


def crowded(ref: ObjectRef) -> Problem:
    """That a policy is closed for want of room."""
    whose = f"namespace {ref.namespace}" if ref.namespace else "the cluster"
    kind = "NetworkPolicies" if ref.namespace else "ClusterNetworkPolicies"
    return Problem(
        Cause(ref, "spec"),
        f"the {kind} of {whose} are too much for its nodes together, and this is one of the "
        "largest, so it lets nothing through; use fewer rules, ports and peers, or labels",
    )


def affordable(policies: Iterable[P]) -> tuple[tuple[P, ...], tuple[Problem, ...]]:
    """The policies of one namespace, or all ClusterNetworkPolicies, with those closed that are too
    much.
    """
    known = tuple(policies)
    left = too_much({policy.ref: size_of(policy) for policy in known})
    if not left:
        return known, ()
    kept = tuple(closed(policy) if policy.ref in left else policy for policy in known)
    return kept, tuple(crowded(ref) for ref in sorted(left))

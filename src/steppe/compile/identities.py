"""Identities: peers that no policy can tell apart are one.

A peer is told by its labels, its namespace's labels, its address, and, where it receives, by its
named ports. Its identity in one direction is what all of that comes to: the rules that take it.
Ingress rules look at senders, egress rules at receivers, so an address has one of each.

    pod's labels ───────▶ selectors, per namespace ─┐
    node's labels ──────▶ selectors                 ├─▶ rules that take the peer ─▶ Identity
    address ────────────▶ prefixes (CIDR atoms) ────┘

An identity is a value made of what it stands for, so it depends on present objects alone, never
on what was there before. What belongs to one pod only, as that it always reaches itself and is
reached by its own node, is no matter of identities.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.objects import NamedPort, Node, Pod
from steppe.kube.policies import (
    Anyone,
    Block,
    Direction,
    Namespace,
    NetworkPolicy,
    Nodes,
    Pods,
    PortName,
    Rule,
)
from steppe.kube.selectors import Selector
from steppe.net.address import IPAddress, IPNetwork, parse_prefix, sort_key
from steppe.net.lpm import LongestPrefix

Rules = frozenset[Cause]
NO_RULES: Rules = frozenset()
_Named = tuple[Cause, Rule | ClusterRule]
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))


class Identity(msgspec.Struct, frozen=True):
    """The rules that take a peer, and those of its ports that rules call by name.

    Rules that take anyone are left out: they tell nobody apart.
    """

    rules: Rules = NO_RULES
    ports: frozenset[NamedPort] = frozenset()


class Identities:
    """Tells identities in one direction, under one set of policies and namespaces."""

    def __init__(
        self,
        direction: Direction,
        network_policies: Iterable[NetworkPolicy],
        cluster_policies: Iterable[ClusterNetworkPolicy],
        namespaces: Iterable[Namespace],
    ) -> None:
        rules: tuple[_Named, ...] = (
            *_network_rules(direction, network_policies),
            *_cluster_rules(direction, cluster_policies),
        )
        telling = [(cause, rule) for cause, rule in rules if Anyone() not in rule.peers]
        self._residents = _residents(telling, namespaces)
        self._nodes = [
            (peer.nodes, cause)
            for cause, rule in telling
            for peer in rule.peers
            if isinstance(peer, Nodes)
        ]
        self._atoms = _atoms(telling)
        self._by_address = LongestPrefix(self._atoms)
        self._port_names = frozenset(
            port
            for _, rule in rules
            for port in rule.ports
            # A port's name is the receiver's, and in ingress that is the pod with the policy.
            if direction == "egress" and isinstance(port, PortName)
        )

    def of_pod(self, pod: Pod, address: IPAddress) -> Identity:
        """The identity of a pod at one of its addresses (not of a host-network pod)."""
        residents = self._residents.get(pod.namespace)
        by_labels = residents.rules(pod.labels) if residents is not None else NO_RULES
        ports = frozenset(port for port in pod.ports if self._names(port))
        return Identity(by_labels | self._of_address(address), ports)

    def of_node(self, node: Node, address: IPAddress) -> Identity:
        """The identity of a node at one of its addresses."""
        by_labels = frozenset(cause for nodes, cause in self._nodes if nodes.takes(node.labels))
        return Identity(by_labels | self._of_address(address))

    def of_other(self, address: IPAddress) -> Identity:
        """The identity of an address that is no pod's and no node's."""
        return Identity(self._of_address(address))

    def of_prefixes(self) -> Mapping[IPNetwork, Identity]:
        """The identity of every other address, by the longest of these prefixes that holds it."""
        return {prefix: Identity(rules) for prefix, rules in self._atoms.items()}

    def _of_address(self, address: IPAddress) -> Rules:
        found = self._by_address.lookup(address)
        return found[1] if found is not None else NO_RULES

    def _names(self, port: NamedPort) -> bool:
        return any(
            name.name == port.name and name.protocol in ("", port.protocol)
            for name in self._port_names
        )


def _network_rules(
    direction: Direction, policies: Iterable[NetworkPolicy]
) -> Iterator[tuple[Cause, Rule]]:
    for policy in policies:
        if direction in policy.isolates:
            for rule in policy.rules(direction):
                yield Cause(policy.ref, rule.field), rule


def _cluster_rules(
    direction: Direction, policies: Iterable[ClusterNetworkPolicy]
) -> Iterator[tuple[Cause, ClusterRule]]:
    for policy in policies:
        for rule in policy.rules(direction):
            yield Cause(policy.ref, rule.field), rule


class _Residents(msgspec.Struct, frozen=True):
    """Which rules take a namespace's pods: all of them, or those that a selector takes.

    A selector that requires a label to be one of some values is tried only on pods that have it
    so: among thousands of policies, few speak of any one pod.
    """

    all: Rules
    by_label: Mapping[tuple[str, str], tuple[tuple[Selector, Cause], ...]]
    by_other: tuple[tuple[Selector, Cause], ...]

    def rules(self, labels: Mapping[str, str]) -> Rules:
        found = {cause for selector, cause in self.by_other if selector.takes(labels)}
        for label in labels.items():
            for selector, cause in self.by_label.get(label, ()):
                if selector.takes(labels):
                    found.add(cause)
        return self.all.union(found)


def _residents(
    rules: Iterable[_Named], namespaces: Iterable[Namespace]
) -> Mapping[str, _Residents]:
    peers = [
        (peer, cause) for cause, rule in rules for peer in rule.peers if isinstance(peer, Pods)
    ]
    found = {
        namespace.name: _residents_of(
            (peer.pods, cause)
            for peer, cause in peers
            if peer.within == namespace.name
            or (not peer.within and peer.namespaces.takes(namespace.labels))
        )
        for namespace in namespaces
    }
    # A policy knows the pods of its own namespace even while that object is missing.
    for name in {peer.within for peer, _ in peers} - found.keys() - {""}:
        found[name] = _residents_of(
            (peer.pods, cause) for peer, cause in peers if peer.within == name
        )
    return found


def _residents_of(selectors: Iterable[tuple[Selector, Cause]]) -> _Residents:
    everyone: set[Cause] = set()
    by_label: dict[tuple[str, str], list[tuple[Selector, Cause]]] = {}
    by_other: list[tuple[Selector, Cause]] = []
    for selector, cause in selectors:
        wanted = next((r for r in selector.requirements if r.operator == "In"), None)
        if not selector.requirements:
            everyone.add(cause)
        elif wanted is None:
            by_other.append((selector, cause))
        else:
            for value in wanted.values:
                by_label.setdefault((wanted.key, value), []).append((selector, cause))
    return _Residents(
        frozenset(everyone),
        {label: tuple(found) for label, found in by_label.items()},
        tuple(by_other),
    )


def _atoms(rules: Iterable[_Named]) -> Mapping[IPNetwork, Rules]:
    """For each prefix that a block names, the rules that take its addresses.

    Prefixes either nest or are apart, so all addresses with the same longest prefix of these are
    inside the same blocks: they are one atom. One that differs in nothing from the prefix around
    it is left out.
    """
    blocks = [
        (peer, cause) for cause, rule in rules for peer in rule.peers if isinstance(peer, Block)
    ]
    begins: dict[IPNetwork, set[int]] = {prefix: set() for prefix in _EVERYWHERE}
    ends: dict[IPNetwork, set[int]] = {}
    for number, (block, _) in enumerate(blocks):
        begins.setdefault(block.prefix, set()).add(number)
        for part in block.excepted:
            ends.setdefault(part, set()).add(number)
    atoms: dict[IPNetwork, Rules] = {}
    around: list[tuple[IPNetwork, frozenset[int], Rules]] = []
    for prefix in sorted(begins.keys() | ends.keys(), key=sort_key):
        while around and not _holds(around[-1][0], prefix):
            around.pop()
        outer = around[-1][1] if around else frozenset()
        inside = (outer - ends.get(prefix, set())) | begins.get(prefix, set())
        rules_here = frozenset(blocks[number][1] for number in inside)
        if not around or rules_here != around[-1][2]:
            atoms[prefix] = rules_here
        around.append((prefix, inside, rules_here))
    return atoms


def _holds(outer: IPNetwork, inner: IPNetwork) -> bool:
    return outer.version == inner.version and inner.network_address in outer

"""Identities: peers that no policy distinguishes have the same identity.

Rules match a peer by its labels, its namespace's labels, its address and, if it is the receiver,
its named ports. Its identity in one direction is the result: the set of rules that match it.
Ingress rules match senders and egress rules match receivers, so an address has an identity for each
direction.

    pod's labels ───────▶ selectors, per namespace ─┐
    node's labels ──────▶ selectors                 ├─▶ rules that match the peer ─▶ Identity
    address ────────────▶ prefixes (CIDR atoms) ────┘

An identity is a value made of these rules, so it depends on the current objects only, not on
earlier ones. Exceptions for single pods (a pod reaches itself, a node reaches its own pods) are not
part of identities.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping

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
from steppe.net.address import IPAddress, IPNetwork, holds, parse_prefix, sort_key
from steppe.net.lpm import LongestPrefix
from steppe.policy.pod_rules import PodRules

Rules = frozenset[Cause]
NO_RULES: Rules = frozenset()
Trait = Cause | str
"""A rule, or the name of a port."""
AnyRule = Rule | ClusterRule
AnyPolicy = NetworkPolicy | ClusterNetworkPolicy
MOST_REMEMBERED = 20_000
"""Of how many kinds of pods it is remembered which rules take them; pods come and go for ever."""
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))
_Order = tuple[int, int, int]
"""As net.address.sort_key has it; a network takes ten times as long to hash."""
_Blocks = Mapping[Cause, tuple[Block, ...]]


class Identity(msgspec.Struct, frozen=True, cache_hash=True):
    """The rules that match a peer, and those of its named ports that rules refer to.

    Rules that match everyone are left out: they distinguish no peers.
    """

    rules: Rules = NO_RULES
    ports: frozenset[NamedPort] = frozenset()

    @property
    def traits(self) -> frozenset[Trait]:
        return self.rules | {port.name for port in self.ports}

    def seen_by(self, looks_at: frozenset[Trait]) -> "Identity":
        """The identity reduced to these traits."""
        ports = frozenset(port for port in self.ports if port.name in looks_at)
        return Identity(self.rules & looks_at, ports)


NOBODY = Identity()
"""The identity of peers that no rule matches."""


AddressIdentities = tuple[tuple[IPAddress, Identity, bool], ...]
"""For each address of a peer: the address, the identity, and whether it differs from the identity
that
the address alone would have."""


class Identities:
    """Computes identities in one direction, for a changing set of rules and namespaces.

    Invariant: an answer depends only on the current rules and namespaces. The caches (`_by_labels`,
    `_atoms`) are cleared by every change that may affect them.
    """

    def __init__(
        self,
        direction: Direction,
        network_policies: Iterable[NetworkPolicy] = (),
        cluster_policies: Iterable[ClusterNetworkPolicy] = (),
        namespaces: Iterable[Namespace] = (),
    ) -> None:
        self._direction = direction
        self._rules: dict[Cause, AnyRule] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._pods = PodRules[Cause]()
        self._nodes: dict[Cause, tuple[Nodes, ...]] = {}
        self._blocks: dict[Cause, tuple[Block, ...]] = {}
        self._port_names: Counter[tuple[str, str]] = Counter()
        self._label_keys: Counter[str] = Counter()
        self._by_labels: dict[Hashable, Identity] = {}
        self._joins: dict[tuple[Identity, Rules], Identity] = {}
        self._atoms: Mapping[IPNetwork, Rules] | None = None
        self._by_address = LongestPrefix[Rules]({})
        for namespace in namespaces:
            self.set_namespace(namespace)
        policies: list[AnyPolicy] = [*network_policies, *cluster_policies]
        for policy in policies:
            for cause, rule in rules_of(policy, direction):
                self.add(cause, rule)

    @property
    def any_rule(self) -> bool:
        """Whether there is any rule; without one all peers are alike."""
        return bool(self._rules)

    def add(self, cause: Cause, rule: AnyRule) -> None:
        """Add a rule."""
        self._rules[cause] = rule
        self._count_names(rule, 1)
        if Anyone() in rule.peers:
            return
        for peer in rule.peers:
            if isinstance(peer, Pods):
                self._pods.add(cause, peer)
                self._label_keys.update(r.key for r in peer.pods.requirements)
        nodes = tuple(peer for peer in rule.peers if isinstance(peer, Nodes))
        blocks = tuple(peer for peer in rule.peers if isinstance(peer, Block))
        if nodes:
            self._nodes[cause] = nodes
        if blocks:
            self._blocks[cause] = blocks
            self._atoms = None

    def remove(self, cause: Cause) -> None:
        """Remove a rule; KeyError if it was not added."""
        rule = self._rules.pop(cause)
        self._count_names(rule, -1)
        for peer in () if Anyone() in rule.peers else rule.peers:
            if isinstance(peer, Pods):
                self._pods.remove(cause, peer)
                for requirement in peer.pods.requirements:
                    self._label_keys[requirement.key] -= 1
                    if not self._label_keys[requirement.key]:
                        del self._label_keys[requirement.key]
        self._nodes.pop(cause, None)
        if self._blocks.pop(cause, None):
            self._atoms = None

    def set_namespace(self, namespace: Namespace) -> None:
        self._namespaces[namespace.name] = namespace
        self._by_labels.clear()

    def remove_namespace(self, name: str) -> None:
        self._namespaces.pop(name, None)
        self._by_labels.clear()

    def of_pod(self, pod: Pod, address: IPAddress) -> Identity:
        """The identity of a pod at one of its addresses (not of a host-network pod)."""
        return self._joined(self._by_pod(pod), self._of_address(address))

    def by_labels(self, pod: Pod) -> Identity:
        """The identity that a pod has by its labels and ports alone, at whatever address."""
        return self._by_pod(pod)

    def of_pod_addresses(self, pod: Pod) -> AddressIdentities:
        """The identity of a pod at each of its addresses."""
        by_labels = self._by_pod(pod)
        if not self._blocks:
            apart = by_labels != NOBODY
            return tuple([(address, by_labels, apart) for address in pod.addresses])
        return tuple(self._at(address, by_labels) for address in pod.addresses)

    def _at(self, address: IPAddress, by_labels: Identity) -> tuple[IPAddress, Identity, bool]:
        by_address = self._of_address(address)
        identity = self._joined(by_labels, by_address)
        return address, identity, bool(identity.ports) or identity.rules != by_address

    def _by_pod(self, pod: Pod) -> Identity:
        # Computed once for pods that are equal in all that rules use.
        looked_at = self._label_keys
        labels = frozenset([label for label in pod.labels.items() if label[0] in looked_at])
        key = (pod.namespace, labels, pod.ports)
        known = self._by_labels.get(key)
        if known is None:
            if len(self._by_labels) >= MOST_REMEMBERED:
                self._by_labels.clear()
            told = self._computed_by_labels(pod)
            # Thousands of pods may differ in labels and not in what rules make of them.
            known = self._by_labels[key] = self._by_labels.setdefault(told, told)
        return known

    def of_node(self, node: Node, address: IPAddress) -> Identity:
        """The identity of a node at one of its addresses."""
        return self._joined(self._by_node(node), self._of_address(address))

    def of_node_addresses(self, node: Node) -> AddressIdentities:
        """The identity of a node at each of its addresses."""
        by_labels = self._by_node(node)
        return tuple(
            self._at(address, by_labels) for address in (*node.addresses, *node.external_addresses)
        )

    def _by_node(self, node: Node) -> Identity:
        return Identity(
            frozenset(
                cause
                for cause, chosen in self._nodes.items()
                if any(peer.nodes.matches(node.labels) for peer in chosen)
            )
        )

    def of_other(self, address: IPAddress) -> Identity:
        """The identity of an address that is no pod's and no node's."""
        return Identity(self._of_address(address))

    def of_prefixes(self) -> Mapping[IPNetwork, Identity]:
        """The identity of every other address: that of the longest of these prefixes around it."""
        atoms = self._refreshed()
        same = {rules: Identity(rules) for rules in atoms.values()}
        return {prefix: same[rules] for prefix, rules in atoms.items()}

    def _computed_by_labels(self, pod: Pod) -> Identity:
        rules = self._pods.of(pod, self._namespaces.get(pod.namespace))
        return Identity(rules, frozenset(port for port in pod.ports if self._names(port)))

    def _of_address(self, address: IPAddress) -> Rules:
        if not self._blocks:
            return NO_RULES
        self._refreshed()
        found = self._by_address.lookup(address)
        return found[1] if found is not None else NO_RULES

    def _joined(self, identity: Identity, rules: Rules) -> Identity:
        """Computed once for all peers of which labels and address say the same."""
        if rules <= identity.rules:
            return identity
        found = self._joins.get((identity, rules))
        if found is None:
            if len(self._joins) >= MOST_REMEMBERED:
                self._joins.clear()
            found = Identity(identity.rules | rules, identity.ports)
            self._joins[identity, rules] = found
        return found

    def _refreshed(self) -> Mapping[IPNetwork, Rules]:
        if self._atoms is None:
            self._atoms = _atoms(self._blocks)
            self._by_address = LongestPrefix(self._atoms.items())
        return self._atoms

    def _names(self, port: NamedPort) -> bool:
        return bool(self._port_names[port.name, port.protocol] or self._port_names[port.name, ""])

    def _count_names(self, rule: AnyRule, more: int) -> None:
        self._by_labels.clear()
        # A port name belongs to the receiver. In ingress that is the policy's pod, not the peer.
        if self._direction == "egress":
            for port in rule.ports:
                if isinstance(port, PortName):
                    self._port_names[port.name, port.protocol] += more


def rules_of(policy: AnyPolicy, direction: Direction) -> Iterator[tuple[Cause, AnyRule]]:
    """A policy's rules in one direction, each with its cause."""
    if isinstance(policy, NetworkPolicy) and direction not in policy.isolates:
        return
    for rule in policy.rules(direction):
        yield Cause(policy.ref, rule.field), rule


def _atoms(rules: _Blocks) -> Mapping[IPNetwork, Rules]:
    """For each prefix in an ipBlock, the rules that match the addresses of which it is the longest.

    Two prefixes are either nested or disjoint, so addresses with the same longest prefix are in the
    same blocks: they form one atom. A prefix with the same rules as the prefix around it is left
    out.
    """
    blocks = [(block, cause) for cause, some in rules.items() for block in some]
    begins: dict[_Order, set[int]] = {}
    ends: dict[_Order, set[int]] = {}
    prefixes = {sort_key(prefix): prefix for prefix in _EVERYWHERE}
    for number, (block, _) in enumerate(blocks):
        for prefix, where in ((block.prefix, begins), *((part, ends) for part in block.excepted)):
            order = sort_key(prefix)
            prefixes[order] = prefix
            where.setdefault(order, set()).add(number)
    atoms: dict[IPNetwork, Rules] = {}
    around: list[tuple[IPNetwork, frozenset[int], Rules]] = []
    same: dict[Rules, Rules] = {}
    for order in sorted(prefixes):
        prefix = prefixes[order]
        while around and not holds(around[-1][0], prefix):
            around.pop()
        outer = around[-1][1] if around else frozenset()
        inside = (outer - ends.get(order, set())) | begins.get(order, set())
        rules_here = frozenset([blocks[number][1] for number in inside])
        rules_here = same.setdefault(rules_here, rules_here)
        if not around or rules_here is not around[-1][2]:
            atoms[prefix] = rules_here
        around.append((prefix, inside, rules_here))
    return atoms


class RuleScope:
    """Tells which peers may get another identity when these rules change."""

    def __init__(self, rules: Iterable[AnyRule]) -> None:
        self._pods = PodRules[int]()
        self._names: set[str] = set()
        self.beyond_pods = False
        prefixes: dict[IPNetwork, None] = {}
        for number, rule in enumerate(rules):
            self._names.update(port.name for port in rule.ports if isinstance(port, PortName))
            for peer in rule.peers:
                if isinstance(peer, Pods):
                    self._pods.add(number, peer)
                elif isinstance(peer, Block):
                    prefixes[peer.prefix] = None
                self.beyond_pods |= isinstance(peer, Block | Nodes)
        self._prefixes = LongestPrefix(prefixes.items()) if prefixes else None

    def touches(self, pod: Pod, namespace: Namespace | None) -> bool:
        if self._pods.any(pod, namespace):
            return True
        if self._names and any(port.name in self._names for port in pod.ports):
            return True
        within = self._prefixes
        return within is not None and any(within.lookup(each) for each in pod.addresses)

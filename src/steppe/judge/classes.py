"""Policy classes: everything by which policies distinguish ends, so that equal ends are judged
once.

An end is a pod, a node or an address outside. Two ends of one class have equal guards, and the same
identity for all other guards. Exceptions for single pods (a pod reaches itself, a node reaches its
own pods) are not part of classes; judge.py adds them.

Where something is not known (doubts.py), a pod has two classes: what holds at least, and at most.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar, get_args

import msgspec

from steppe.judge.doubts import Bound, Doubts
from steppe.judge.pieces import both_of, either_of
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import NamedPort, Node, Pod
from steppe.kube.policies import Direction, NetworkPolicy, Pods, PortName
from steppe.kube.selectors import Selector
from steppe.net.address import IPAddress, IPNetwork, of_version
from steppe.net.lpm import LongestPrefix
from steppe.policy.guards import Guard, Piece, guard_of
from steppe.policy.identities import NO_RULES, Identities, Identity, Rules

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
INGRESS: Direction = "ingress"
EGRESS: Direction = "egress"
VERSIONS = (4, 6)
OPEN = 0
"""The number of the guard that allows everything: of nodes, and of pods without policies."""

H = TypeVar("H", bound=Hashable)


class Side(msgspec.Struct, frozen=True, gc=False):
    """The numbers of an end's identities in one family: as a sender and as a receiver."""

    sender: int
    receiver: int


class PolicyClass(msgspec.Struct, frozen=True, gc=False):
    """The numbers of an end's guards, and its Side by IP version, None without an address.

    `most` is the class of the same end with all that may be allowed; None if nothing is in doubt.
    `ranges` is the number of the set of Services' source ranges that hold an address outside.
    """

    egress: int
    ingress: int
    v4: Side | None
    v6: Side | None
    most: "PolicyClass | None" = None
    ranges: int = 0

    def side(self, version: int) -> Side | None:
        return self.v4 if version == 4 else self.v6

    def bound(self, bound: Bound) -> "PolicyClass":
        return self if bound == "least" or self.most is None else self.most


class Unsure(Identity, frozen=True, cache_hash=True):
    """An identity that rules of action Pass may take or not (`passing`), at least or at most."""

    passing: Rules = NO_RULES
    bound: Bound = "least"


def pieces_of(guard: Guard, identity: Identity) -> tuple[Piece, ...]:
    """The guard's pieces for an identity, also for one that is not sure.

    Whichever of `passing` is asked first in a tier, the tiers below decide: so what may come out is
    what comes out with all of a tier's or with none.
    """
    found = guard.pieces(identity)
    if not isinstance(identity, Unsure):
        return found
    admin, baseline = (
        frozenset(entry.cause for entry in tier) & identity.passing
        for tier in (guard.admin, guard.baseline)
    )
    together = both_of if identity.bound == "least" else either_of
    for passing in {admin, baseline, admin | baseline} - {NO_RULES}:
        known = Identity(identity.rules | passing, identity.ports)
        found = together(found, guard.pieces(known))
    return found


class Numbered(Generic[H]):
    """Numbers values in order of their appearance; equal values have the same number."""

    def __init__(self) -> None:
        self.values: list[H] = []
        self._numbers: dict[H, int] = {}

    def number(self, value: H) -> int:
        found = self._numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


class PolicyClasses:
    """Computes the classes of ends under the policies and namespaces of one cluster.

    Invariant: numbers are never reused, so equal classes are equal values.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.doubts = Doubts(cluster)
        self._keys, self._port_names = _telling(cluster)
        self._identities = {
            direction: Identities(
                direction,
                cluster.network_policies.values(),
                cluster.cluster_policies.values(),
                cluster.namespaces.values(),
            )
            for direction in DIRECTIONS
        }
        self.prefixes: Mapping[Direction, Mapping[IPNetwork, Identity]] = {
            direction: found.of_prefixes() for direction, found in self._identities.items()
        }
        self._atoms = {d: LongestPrefix(found.items()) for d, found in self.prefixes.items()}
        self.identities: dict[Direction, Numbered[Identity]] = {d: Numbered() for d in DIRECTIONS}
        self.guards: dict[Direction, Numbered[Guard]] = {d: Numbered() for d in DIRECTIONS}
        for direction in DIRECTIONS:
            self.guards[direction].number(Guard(direction))
        self.ranges: Numbered[frozenset[IPNetwork]] = Numbered()
        self.ranges.number(frozenset())
        self._pieces: dict[tuple[Direction, int, int], tuple[Piece, ...]] = {}
        self._guard_of: dict[Hashable, int] = {}
        self._identity_of: dict[Hashable, int] = {}

    def of_pod(self, pod: Pod) -> PolicyClass:
        """The class of a pod that is not on the host network."""
        likeness = self._likeness(pod)
        least = self._bounded(pod, likeness, "least")
        if not self._cluster.doubts:
            return least
        most = self._bounded(pod, likeness, "most")
        return least if most == least else msgspec.structs.replace(least, most=most)

    def of_node(self, node: Node) -> PolicyClass:
        """The class of a node at its first address of each family."""
        v4, v6 = (
            None
            if address is None
            else Side(
                self.identities["ingress"].number(
                    self._identities["ingress"].of_node(node, address)
                ),
                self.identities["egress"].number(self._identities["egress"].of_node(node, address)),
            )
            for address in (of_version(node.addresses, version) for version in VERSIONS)
        )
        return PolicyClass(OPEN, OPEN, v4, v6)

    def of_other(self, address: IPAddress) -> PolicyClass:
        """The class of an address that belongs to no pod and no node."""
        side = Side(
            self.identities["ingress"].number(self._identities["ingress"].of_other(address)),
            self.identities["egress"].number(self._identities["egress"].of_other(address)),
        )
        four = address.version == 4
        return PolicyClass(OPEN, OPEN, side if four else None, None if four else side)

    def guard(self, pod: Pod, direction: Direction, bound: Bound) -> int:
        """The number of a pod's guard."""
        return self._guard(direction, pod, self._likeness(pod), bound)

    def identity(
        self, direction: Direction, end: Pod | Node | IPAddress, address: IPAddress, bound: Bound
    ) -> int:
        """The number of the identity that an end has at one of its addresses, for a guard of this
        direction.
        """
        if isinstance(end, Pod):
            return self._pod_identity(direction, end, self._likeness(end), address, bound)
        known = self._identities[direction]
        found = known.of_node(end, address) if isinstance(end, Node) else known.of_other(address)
        return self.identities[direction].number(found)

    def _likeness(self, pod: Pod) -> Hashable:
        """All by which policies may tell pods apart, except their addresses."""
        return (
            pod.namespace,
            tuple(sorted(label for label in pod.labels.items() if label[0] in self._keys)),
            tuple(sorted(_order(p) for p in pod.ports if p.name in self._port_names)),
        )

    def between(
        self, sender: PolicyClass, receiver: PolicyClass, version: int
    ) -> tuple[Piece, ...]:
        """The decision for a pair's packets on every port, with causes.

        () if they have no addresses of this family.
        """
        here, there = sender.side(version), receiver.side(version)
        if here is None or there is None:
            return ()
        return both_of(
            self.pieces("egress", sender.egress, there.receiver),
            self.pieces("ingress", receiver.ingress, here.sender),
        )

    def pieces(self, direction: Direction, guard: int, identity: int) -> tuple[Piece, ...]:
        """The guard's pieces for an identity, both given by number."""
        key = (direction, guard, identity)
        if key not in self._pieces:
            known = self.identities[direction].values[identity]
            self._pieces[key] = pieces_of(self.guards[direction].values[guard], known)
        return self._pieces[key]

    def _bounded(self, pod: Pod, likeness: Hashable, bound: Bound) -> PolicyClass:
        v4, v6 = (self._pod_side(pod, likeness, version, bound) for version in VERSIONS)
        egress, ingress = (self._guard(d, pod, likeness, bound) for d in (EGRESS, INGRESS))
        return PolicyClass(egress, ingress, v4, v6)

    def _guard(self, direction: Direction, pod: Pod, likeness: Hashable, bound: Bound) -> int:
        doubts = self.doubts.policies(pod, direction)
        key = (direction, likeness, doubts and (doubts, bound))
        if key not in self._guard_of:
            guard = guard_of(
                pod,
                self._cluster.namespaces.get(pod.namespace),
                direction,
                self._cluster.policies_in(pod.namespace),
                self._cluster.cluster_policies.values(),
            )
            if doubts:
                guard = self.doubts.bounded(guard, doubts, bound)
            # Port names that no rule uses would only split equal pods into several classes.
            named = frozenset(port for port in guard.ports if port.name in self._port_names)
            known = msgspec.structs.replace(guard, ports=named if _rules(guard) else frozenset())
            self._guard_of[key] = self.guards[direction].number(known)
        return self._guard_of[key]

    def _pod_side(self, pod: Pod, likeness: Hashable, version: int, bound: Bound) -> Side | None:
        address = of_version(pod.addresses, version)
        if address is None:
            return None
        return Side(
            self._pod_identity(INGRESS, pod, likeness, address, bound),
            self._pod_identity(EGRESS, pod, likeness, address, bound),
        )

    def _pod_identity(
        self, direction: Direction, pod: Pod, likeness: Hashable, address: IPAddress, bound: Bound
    ) -> int:
        key: Hashable
        if self.doubts.address(pod):
            key = (direction, likeness, bound, address.version)
        else:
            atom = self._atoms[direction].lookup(address)
            key = (direction, likeness, atom[0] if atom is not None else None)
        if key not in self._identity_of:
            identity = self._identities[direction].of_pod(pod, address)
            if self.doubts.address(pod):
                rules = self._identities[direction].by_labels(pod).rules
                rules |= self.doubts.blocks(direction, address.version, bound)
                passing = self.doubts.passing(direction, address.version) - rules
                ports = identity.ports
                identity = Identity(rules, ports)
                if passing:
                    identity = Unsure(rules, ports, passing, bound)
            self._identity_of[key] = self.identities[direction].number(identity)
        return self._identity_of[key]


def _order(port: NamedPort) -> tuple[str, str, int]:
    return port.name, port.protocol, port.number


def _rules(guard: Guard) -> bool:
    return bool(guard.admin or guard.allowing or guard.baseline)


def _telling(cluster: Cluster) -> tuple[frozenset[str], frozenset[str]]:
    """The label keys and the port names that policies use."""
    keys: set[str] = set()
    names: set[str] = set()
    policies: list[NetworkPolicy | ClusterNetworkPolicy] = [
        *cluster.network_policies.values(),
        *cluster.cluster_policies.values(),
    ]
    for policy in policies:
        keys.update(_keys(_subject(policy)))
        for rule in (*policy.ingress, *policy.egress):
            names.update(port.name for port in rule.ports if isinstance(port, PortName))
            for peer in rule.peers:
                if isinstance(peer, Pods):
                    keys.update(_keys(peer.pods))
    return frozenset(keys), frozenset(names)


def _subject(policy: NetworkPolicy | ClusterNetworkPolicy) -> Selector:
    return policy.pods if isinstance(policy, NetworkPolicy) else policy.subject.pods


def _keys(selector: Selector) -> Iterator[str]:
    return (requirement.key for requirement in selector.requirements)

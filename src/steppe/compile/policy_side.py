"""One direction of the policies over a node's pods, kept current.

    policies of pods here ─▶ their rules ─▶ identity of each peer ─▶ number ─▶ peer, block
              └─▶ guard of each pod ──────────────────┴─▶ ruling ─▶ allowed, anyone

Only rules that apply to pods of this node tell peers apart. What changed is gathered and worked
off by `work`: a peer costs its own elements, a policy the pods it selects and the peers its rules
take.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain

from steppe.compile.cluster_objects import ClaimSets, ClusterObjects
from steppe.compile.identity_counts import ChangedNumbers, IdentityCounts
from steppe.compile.owners import (
    GuardOwner,
    NumberOwner,
    PeerOwner,
    PrefixesOwner,
    RulingOwner,
)
from steppe.compile.slices import Slices, Work
from steppe.compile.subjects import Group, Subject
from steppe.dataplane.registry import PolicyPlane
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.policies import (
    Block,
    Direction,
    Namespace,
)
from steppe.net.address import IPNetwork
from steppe.net.nesting import apart
from steppe.policy.guards import Guard
from steppe.policy.identities import (
    NOBODY,
    AddressIdentities,
    AnyPolicy,
    AnyRule,
    Identities,
    Identity,
    RuleScope,
    Trait,
    rules_of,
)
from steppe.policy.numbers import ITSELF, Numbering
from steppe.policy.rulings import Ruling
from steppe.state.node import Key, NodeClaim

NONE: frozenset[Key] = frozenset()
_MANY_RULES = 16
"""With more changed rules than this, all peers are compiled again: to match each peer with each
changed rule would cost more."""
_PREFIXES_A_STEP = 256
_PASSED_A_STEP = 32
"""Pods that a rule does not concern: each is some microseconds."""
_PARTS = 32
"""Into how many claim sets the prefixes of one direction are divided."""


class PolicySide:
    """One direction; `work` has the keys to diff after anything was told.

    Invariant, after all work: `claim_sets` holds what a new PolicySide would make of
    the same subjects, peers and namespaces, whatever was told before and in which order. A pod has
    a group exactly while a policy guards it, and only rules in use tell identities apart.
    """

    def __init__(
        self,
        direction: Direction,
        claim_sets: ClaimSets,
        cluster: ClusterObjects,
        *,
        number: Numbering,
        plane: PolicyPlane,
        slices: Slices,
    ) -> None:
        self._slices = slices
        self._direction: Direction = direction
        self._plane = plane
        self._claim_sets = claim_sets
        self._cluster = cluster
        self._identities = Identities(direction)
        self._identity_counts = IdentityCounts(number)
        self._subjects: dict[str, Subject] = {}
        self._groups: dict[Guard, Group] = {}
        self._watching: dict[Trait, set[Guard]] = {}
        self._group_of: dict[str, Group] = {}
        self._links_of: dict[ObjectRef, set[str]] = {}
        self._in_use: dict[ObjectRef, tuple[AnyPolicy, set[str]]] = {}
        self._policies_of: dict[str, frozenset[ObjectRef]] = {}
        self._held: dict[ObjectRef, AddressIdentities] = {}
        self._atoms: tuple[Identity, ...] = ()
        self._parts: set[int] = set()
        self._turn = 0
        self._numbers: dict[str, set[int]] = {}
        self._changed_rules: list[tuple[Cause, AnyRule]] = []
        self._changed_links: set[str] = set()
        self._changed_peers: set[ObjectRef] = set()

    def keys(self, link: str) -> Iterator[Key]:
        """The keys of all entries for the policies of the pod behind a link."""
        yield from self._claim_sets.keys(GuardOwner(self._direction, link))
        for number in self._numbers.get(link, ()):
            yield from self._claim_sets.keys(RulingOwner(self._direction, link, number))

    def guard(self, link: str) -> Guard | None:
        """The guard of the pod behind a link; None while no policy selects it."""
        group = self._group_of.get(link)
        return group.guard if group is not None else None

    def set_subject(self, link: str, subject: Subject | None) -> None:
        if self._subjects.get(link) == subject:
            return
        self._changed_links.add(link)
        self._forget(link)
        if subject is None:
            self._use(link, {})
            return
        self._subjects[link] = subject
        self._links_of.setdefault(subject.workload.ref, set()).add(link)
        guard = subject.guard(self._direction)
        policies: list[AnyPolicy] = [*subject.policies, *subject.cluster_policies]
        speaking = {cause.ref for cause in guard.because}
        self._use(link, {policy.ref: policy for policy in policies if policy.ref in speaking})
        if guard.because:
            self._join(link, guard)

    def _forget(self, link: str) -> None:
        self._leave(link)
        subject = self._subjects.pop(link, None)
        if subject is not None:
            links = self._links_of[subject.workload.ref]
            links.discard(link)
            if not links:
                del self._links_of[subject.workload.ref]

    def set_namespace(self, namespace: Namespace) -> None:
        self._identities.set_namespace(namespace)
        self._touch_residents(namespace.name)

    def remove_namespace(self, name: str) -> None:
        self._identities.remove_namespace(name)
        self._touch_residents(name)

    def touch_peer(self, ref: ObjectRef) -> None:
        """A pod or a node was added, changed or deleted: compiled by the next `work`."""
        self._changed_peers.add(ref)

    def work(self) -> tuple[Work, frozenset[Cause], frozenset[str]]:
        """The steps that make the claims what they shall be, of all that was told until now.

        With it the rules and the links that it is because of.
        """
        changed, self._changed_rules = self._changed_rules, []
        peers, self._changed_peers = self._changed_peers, set()
        links, self._changed_links = self._changed_links, set()
        causes, rules = frozenset(cause for cause, _ in changed), [rule for _, rule in changed]
        return self._steps(rules, peers, frozenset(links)), causes, frozenset(links)

    def is_waiting(self, link: str) -> bool:
        """Whether what the pod behind a link asks for is not all worked off."""
        refs = self._policies_of.get(link, frozenset())
        return link in self._slices.links or any(c.ref in refs for c in self._slices.causes)

    def _steps(
        self, rules: Collection[AnyRule], peers: AbstractSet[ObjectRef], links: frozenset[str]
    ) -> Work:
        changed_again: set[str] = set()
        changed = ChangedNumbers(self._direction, self._slices)
        others = self._concerned(rules, peers) if rules else iter(())
        for ref in chain(peers, others):
            if ref is not None:
                changed_again.update(self._links_of.get(ref, ()))
            yield self._compile_peer(ref, changed) if ref is not None else NONE
        if any(isinstance(peer, Block) for rule in rules for peer in rule.peers):
            yield from self._compile_blocks(changed)
            changed_again.update(self._subjects)
        for number, traits in changed.items():
            yield self._compile_number(number, traits | self._identity_counts.traits_of(number))
        for link in links:
            yield from self._compile_rulings(link, changed.keys())
        for link in links | changed_again:
            yield self._compile_guard(link)

    def _join(self, link: str, guard: Guard) -> None:
        group = self._groups.get(guard)
        if group is None:
            group = self._groups[guard] = Group(guard)
            for trait in group.looks_at:
                self._watching.setdefault(trait, set()).add(guard)
        group.links.add(link)
        self._group_of[link] = group

    def _leave(self, link: str) -> None:
        group = self._group_of.pop(link, None)
        if group is None:
            return
        group.links.discard(link)
        if not group.links:
            del self._groups[group.guard]
            for trait in group.looks_at:
                self._watching[trait].discard(group.guard)
                if not self._watching[trait]:
                    del self._watching[trait]

    def _use(self, link: str, policies: Mapping[ObjectRef, AnyPolicy]) -> None:
        """Set the policies that apply to the pod behind a link; their rules are in use."""
        before = self._policies_of.pop(link, frozenset())
        if policies:
            self._policies_of[link] = frozenset(policies)
        for ref in before - policies.keys():
            policy, links = self._in_use[ref]
            links.discard(link)
            if not links:
                del self._in_use[ref]
                self._change_rules(dict(rules_of(policy, self._direction)), {})
        for ref, policy in policies.items():
            known, links = self._in_use.get(ref, (None, set()))
            links.add(link)
            if known is not policy:
                self._in_use[ref] = (policy, links)
                old = dict(rules_of(known, self._direction)) if known is not None else {}
                self._change_rules(old, dict(rules_of(policy, self._direction)))

    def _change_rules(self, old: Mapping[Cause, AnyRule], new: Mapping[Cause, AnyRule]) -> None:
        for cause, rule in old.items():
            if new.get(cause) != rule:
                self._identities.remove(cause)
                self._changed_rules.append((cause, rule))
        for cause, rule in new.items():
            if old.get(cause) != rule:
                self._identities.add(cause, rule)
                self._changed_rules.append((cause, rule))

    def _touch_residents(self, namespace: str) -> None:
        self._changed_peers.update(
            pod.ref for pod in self._cluster.pods.values() if pod.namespace == namespace
        )

    def _concerned(
        self, rules: Collection[AnyRule], told: AbstractSet[ObjectRef]
    ) -> Iterator[ObjectRef | None]:
        """The peers that may be others by these rules than without them, but those that were told
        of; None after each few that are not.

        Those that come while this goes on are told by the rules as they are now.
        """
        everyone = len(rules) > _MANY_RULES
        scope = RuleScope(rules)
        find, passed = self._cluster.namespaces.get, 0
        for pod in tuple(self._cluster.pods.values()):
            touched = everyone or scope.touches(pod, find(pod.namespace))
            if touched and (ref := pod.ref) not in told:
                yield ref
                continue
            passed += 1
            if passed % _PASSED_A_STEP == 0:
                yield None
        if everyone or scope.beyond_pods:
            for node in tuple(self._cluster.nodes.values()):
                yield node.ref if node.ref not in told else None

    def _compile_peer(self, ref: ObjectRef, changed: ChangedNumbers) -> frozenset[Key]:
        held = self._holding(ref) if self._identities.any_rule else ()
        before = self._held.pop(ref, ())
        if held:
            self._held[ref] = held
        if held == before:
            return NONE
        counts = self._identity_counts
        changed.note(counts.replace([i for _, i, _ in before], [i for _, i, _ in held]))
        # The number says which rules select the peer; the cause of the claim is the peer itself.
        cause, number = Cause(ref, "metadata.labels"), counts.number
        claims = [
            self._plane.peer(self._direction, address, number(identity), cause)
            for address, identity, distinct in held
            if distinct
        ]
        touched = self._claim_sets.replace(PeerOwner(self._direction, ref), claims)
        unsettled = self._slices.causes
        if any(
            changed.by_others(number(identity)) or not identity.rules.isdisjoint(unsettled)
            for _, identity, _ in (held if self._slices.waiting else ())
        ):
            return self._slices.defer(touched)
        return touched

    def _holding(self, ref: ObjectRef) -> AddressIdentities:
        identities = self._identities
        if ref.kind == "Node":
            node = self._cluster.nodes.get(ref.name)
            return identities.of_node_addresses(node) if node is not None else ()
        pod = self._cluster.pods.get((ref.namespace, ref.name))
        if pod is None or pod.host_network or pod.finished:
            return ()
        return identities.of_pod_addresses(pod)

    def _compile_blocks(self, changed: ChangedNumbers) -> Work:
        """All prefixes, a part of them at a time."""
        turn = self._turn = self._turn + 1
        atoms = self._identities.of_prefixes()
        changed.note(self._identity_counts.replace(self._atoms, atoms.values()))
        self._atoms = tuple(atoms.values())
        yield NONE
        parts: dict[int, list[NodeClaim]] = {}
        telling = {p: i if i != NOBODY else None for p, i in atoms.items()}
        for count, (prefix, identity) in enumerate(apart(telling)):
            if count % _PREFIXES_A_STEP == 0:
                yield NONE
            if self._turn != turn:
                return  # later work has begun to make all of them anew
            number = self._identity_counts.number(identity)
            claims = self._plane.block(self._direction, prefix, number, identity.rules)
            parts.setdefault(_part_of(prefix), []).extend(claims)
        for part in sorted(parts.keys() | self._parts):
            if self._turn != turn:
                return
            self._parts.add(part)
            owner = PrefixesOwner(self._direction, part)
            touched = self._claim_sets.replace(owner, parts.get(part, ()))
            yield self._slices.defer(touched) if self._slices.waiting else touched
        if self._turn == turn:
            self._parts = set(parts)

    def _compile_number(self, number: int, traits: Iterable[Trait]) -> set[Key]:
        """The rulings of all guards concerned on the peers with this number."""
        owner = NumberOwner(self._direction, number)
        touched = set(self._claim_sets.replace(owner, self._identity_counts.problems(number)))
        guards = {guard for trait in traits for guard in self._watching.get(trait, ())}
        for guard in guards:
            group = self._groups[guard]
            found = group.ruling(self._identity_counts.of_number(number))
            for link in group.links:
                touched |= self._put(link, number, found)
        return touched

    def _compile_rulings(self, link: str, told: Collection[int]) -> Iterator[frozenset[Key]]:
        """What the pod behind a link makes of all numbers, but those that all have been told of."""
        group = self._group_of.get(link)
        watched = self._identity_counts.numbers_with(group.looks_at) if group is not None else set()
        for number in watched.difference(told) | self._numbers.get(link, set()).difference(watched):
            # Asked anew: others may have had their turn in between.
            group = self._group_of.get(link)
            identities = self._identity_counts.of_number(number)
            found = group.ruling(identities) if group is not None else None
            yield self._put(link, number, found)

    def _put(self, link: str, number: int, found: Ruling | None) -> frozenset[Key]:
        if found is None and number not in self._numbers.get(link, ()):
            return NONE
        numbers = self._numbers.setdefault(link, set())
        claim_set: tuple[NodeClaim | Problem, ...] = ()
        if found is not None:
            numbers.add(number)
            addresses = self._subjects[link].workload.addresses
            claims = self._plane.allowed(number, addresses, found)
            claim_set = (*claims, *self._plane.overfull(found))
        else:
            numbers.discard(number)
            if not numbers:
                del self._numbers[link]
        return self._claim_sets.replace(RulingOwner(self._direction, link, number), claim_set)

    def _compile_guard(self, link: str) -> frozenset[Key]:
        """The claims for the pod behind a link that do not depend on a peer."""
        group = self._group_of.get(link)
        claim_set = self._guard_claims(link, group) if group is not None else ()
        return self._claim_sets.replace(GuardOwner(self._direction, link), claim_set)

    def _guard_claims(self, link: str, group: Group) -> Iterator[NodeClaim | Problem]:
        subject = self._subjects[link]
        anyone = group.anyone()
        yield from self._plane.guard(subject.workload, group.guard, anyone)
        yield from self._plane.overfull(anyone)
        for own in subject.workload.addresses:
            identity = self._identities.of_pod(subject.pod, own) if subject.pod else NOBODY
            found = group.itself(identity)
            yield from self._plane.allowed(ITSELF, (own,), found)


def _part_of(prefix: IPNetwork) -> int:
    """Prefixes beside each other are in different parts."""
    return (int(prefix.network_address) >> (prefix.max_prefixlen - prefix.prefixlen)) % _PARTS

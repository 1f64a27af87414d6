"""Policies' entries kept current: passes each object on to both directions (policy_side.py).

Only policies that select pods of this node matter here, so the cost of an event does not depend on
the number of policies in the cluster. Compiling from scratch uses the same code, with all objects
at once.
"""

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain

import msgspec

from steppe.compile.cluster_objects import ClaimSets, ClusterObjects, Name
from steppe.compile.owners import CrowdedOwner, Owner
from steppe.compile.policy_budgets import Budgets
from steppe.compile.policy_side import PolicySide
from steppe.compile.slices import Pace, Slices
from steppe.compile.subjects import Subject
from steppe.dataplane.registry import POLICIES, PolicyPlane
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import NO_POD, Node, Pod, Workload
from steppe.kube.policies import Direction, Namespace, NetworkPolicy
from steppe.kube.policy_budget import crowded
from steppe.policy.guards import Guard, isolates, selects
from steppe.policy.identities import NO_RULES
from steppe.policy.numbers import Numbering, number_of
from steppe.state.node import Key, NodeClaim

NONE: frozenset[Key] = frozenset()


class PolicyObjects(msgspec.Struct, frozen=True):
    """All that policies depend on, besides the pods attached to a node."""

    pods: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    network_policies: tuple[NetworkPolicy, ...] = ()
    cluster_policies: tuple[ClusterNetworkPolicy, ...] = ()


def policy_claims(
    known: PolicyObjects,
    nodes: Iterable[Node],
    workloads: Iterable[Workload],
    number: Numbering = number_of,
) -> Iterator[NodeClaim | Problem]:
    """The claims of all policies on one node, and their Problems, from scratch."""
    gathered = _Gathered()
    tables = PolicyTables(gathered, number)
    tables.learn(known, nodes, workloads)
    for claim_set in gathered.claim_sets.values():
        yield from claim_set


class _Gathered:
    """Collects claim sets by owner without settling them."""

    def __init__(self) -> None:
        self.claim_sets: dict[Owner, tuple[NodeClaim | Problem, ...]] = {}

    def replace(self, owner: Owner, claim_set: Iterable[NodeClaim | Problem]) -> frozenset[Key]:
        self.claim_sets[owner] = tuple(claim_set)
        return NONE

    def keys(self, owner: Owner) -> tuple[Key, ...]:
        claim_set = self.claim_sets.get(owner, ())
        return tuple(item.key for item in claim_set if not isinstance(item, Problem))


class PolicyTables:
    """Policies over one node's pods; each method that changes them returns the keys to diff.

    Invariant: `_subjects` holds each pod of this node with exactly those known policies that select
    it; both directions have the same subjects. While the API has no object of an attached pod,
    every policy of its namespace counts as selecting it, and nothing is allowed to or from it.
    """

    def __init__(
        self, claim_sets: ClaimSets, number: Numbering = number_of, plane: PolicyPlane = POLICIES
    ) -> None:
        self._claim_sets = claim_sets
        self._plane = plane
        self._cluster = ClusterObjects()
        self._slices = Slices()
        self._ingress = PolicySide(
            "ingress", claim_sets, self._cluster, number=number, plane=plane, slices=self._slices
        )
        self._egress = PolicySide(
            "egress", claim_sets, self._cluster, number=number, plane=plane, slices=self._slices
        )
        self._sides = (self._ingress, self._egress)
        self._policies: dict[str, dict[str, NetworkPolicy]] = {}
        self._cluster_policies: dict[str, ClusterNetworkPolicy] = {}
        self._budgets = Budgets()
        self._subjects: dict[str, Subject] = {}
        self.loaded = True
        """Whether what was learnt at once is worked off: until then an entry may be missing."""

    def knows(self, workload: Workload) -> bool:
        """Whether the pod's policies are known: the API has told of it, or nothing selects it.

        What is known of them is all worked off as well.
        """
        if any(side.is_waiting(workload.link) for side in self._sides):
            return False
        name = (workload.namespace, workload.name)
        return name in self._cluster.pods or not self.has_policies(workload.namespace)

    def has_policies(self, namespace: str) -> bool:
        """Whether any policy may select a pod of this namespace."""
        if namespace == NO_POD:
            return False
        return bool(self._cluster_policies or self._policies.get(namespace))

    def guard(self, direction: Direction, link: str) -> Guard | None:
        """The guard of the pod behind a link; None while no policy selects it."""
        return (self._ingress if direction == "ingress" else self._egress).guard(link)

    def keys(self, link: str) -> Iterator[Key]:
        """The keys of all entries that policies claim for the pod behind a link."""
        for side in self._sides:
            yield from side.keys(link)

    def work_in_slices(self, behind: Callable[[], None], pace: Pace | None = None) -> None:
        """From now on long work waits: `behind` is called, and then `more` has to be."""
        self._slices.behind, self._slices.pace = behind, pace or self._slices.pace

    def more(self) -> frozenset[Key]:
        """One slice of what waits; with the last one, all keys that it has touched."""
        found = self._slices.more()
        self.loaded = self.loaded or not self._slices.waiting
        return found

    @property
    def waiting(self) -> bool:
        """Whether there is work that waits: the entries are then half of a change."""
        return self._slices.waiting

    @property
    def pending(self) -> AbstractSet[Key]:
        """The keys of what waits: their entries must not get into the kernel yet."""
        return self._slices.pending

    def learn(
        self,
        objects: PolicyObjects,
        nodes: Iterable[Node] = (),
        workloads: Iterable[Workload] = (),
    ) -> frozenset[Key]:
        """Take in all objects at once, which costs less than one after the other."""
        for node in nodes:
            self._note_node(node)
        for workload in workloads:
            self._subjects[workload.link] = Subject(workload, None)
        for namespace in objects.namespaces:
            self._note_namespace(namespace)
        touched = [self._note_policy(policy) for policy in objects.network_policies]
        touched += [self._note_cluster_policy(policy) for policy in objects.cluster_policies]
        for near in objects.network_policies:
            self._budgets.put(near)
        for admin in objects.cluster_policies:
            self._budgets.put(admin)
        touched += [self._tell_crowded(ref) for ref in self._budgets.closed()]
        for pod in objects.pods:
            self._note_pod(pod)
        for link in tuple(self._subjects):
            self._select(link)
        found = self._settled(*touched)
        self.loaded = not self.waiting
        return found

    def set_workload(self, link: str, workload: Workload | None) -> frozenset[Key]:
        """Set the workload behind a link; None removes it."""
        if workload is not None:
            self._subjects[link] = Subject(workload, None)
            self._select(link)
        else:
            self._subjects.pop(link, None)
            self._tell(link, None)
        return self._settled()

    def set_node(self, node: Node) -> frozenset[Key]:
        if self._cluster.nodes.get(node.name) == node:
            return NONE
        self._note_node(node)
        return self._settled()

    def remove_node(self, name: str) -> frozenset[Key]:
        self._cluster.nodes.pop(name, None)
        self._egress.touch_peer(ObjectRef("Node", "", name))
        return self._settled()

    def set_pod(self, pod: Pod) -> frozenset[Key]:
        if self._cluster.pods.get((pod.namespace, pod.name)) == pod:
            return NONE
        self._note_pod(pod)
        self._select_pod((pod.namespace, pod.name))
        return self._settled()

    def remove_pod(self, namespace: str, name: str) -> frozenset[Key]:
        self._cluster.pods.pop((namespace, name), None)
        for side in self._sides:
            side.touch_peer(ObjectRef("Pod", namespace, name))
        self._select_pod((namespace, name))
        return self._settled()

    def set_namespace(self, namespace: Namespace) -> frozenset[Key]:
        if self._cluster.namespaces.get(namespace.name) == namespace:
            return NONE
        self._note_namespace(namespace)
        self._select_within(namespace.name)
        return self._settled()

    def remove_namespace(self, name: str) -> frozenset[Key]:
        self._cluster.namespaces.pop(name, None)
        for side in self._sides:
            side.remove_namespace(name)
        self._select_within(name)
        return self._settled()

    def set_policy(self, policy: NetworkPolicy) -> frozenset[Key]:
        touched = self._note_policy(policy)
        again = self._reclose(self._budgets.put(policy) - {policy.ref})
        self._reselect(policy.namespace, policy.name, self._budgets.given(policy))
        return self._settled(touched, again, self._tell_crowded(policy.ref))

    def remove_policy(self, namespace: str, name: str) -> frozenset[Key]:
        touched = NONE
        policies = self._policies.get(namespace, {})
        policies.pop(name, None)
        if not policies:
            self._policies.pop(namespace, None)
            touched = self._claim_sets.replace(_namespace(namespace), ())
        self._reselect(namespace, name, None)
        return self._settled(touched, self._forget(ObjectRef("NetworkPolicy", namespace, name)))

    def set_cluster_policy(self, policy: ClusterNetworkPolicy) -> frozenset[Key]:
        touched = self._note_cluster_policy(policy)
        again = self._reclose(self._budgets.put(policy) - {policy.ref})
        self._reselect_everywhere(policy.name, self._budgets.given(policy))
        return self._settled(touched, again, self._tell_crowded(policy.ref))

    def remove_cluster_policy(self, name: str) -> frozenset[Key]:
        self._cluster_policies.pop(name, None)
        ref = ObjectRef("ClusterNetworkPolicy", "", name)
        touched = self._claim_sets.replace(ref, ())
        self._reselect_everywhere(name, None)
        return self._settled(touched, self._forget(ref))

    def _forget(self, ref: ObjectRef) -> frozenset[Key]:
        """A policy is gone, and others may have its room."""
        again = self._reclose(self._budgets.drop(ref))
        return again | self._claim_sets.replace(CrowdedOwner(ref), ())

    def _reclose(self, refs: AbstractSet[ObjectRef]) -> frozenset[Key]:
        """Policies that are closed now, or not any more, because of what others ask for."""
        for ref in refs:
            if ref.namespace:
                near = self._policies[ref.namespace][ref.name]
                self._reselect(ref.namespace, ref.name, self._budgets.given(near))
            else:
                admin = self._cluster_policies[ref.name]
                self._reselect_everywhere(ref.name, self._budgets.given(admin))
        return NONE.union(*map(self._tell_crowded, refs))

    def _tell_crowded(self, ref: ObjectRef) -> frozenset[Key]:
        found = (crowded(ref),) if self._budgets.is_closed(ref) else ()
        return self._claim_sets.replace(CrowdedOwner(ref), found)

    def _settled(self, *touched: frozenset[Key]) -> frozenset[Key]:
        found = [side.work() for side in self._sides]
        work = chain.from_iterable(steps for steps, _, _ in found)
        causes = NO_RULES.union(*(causes for _, causes, _ in found))
        links = frozenset[str]().union(*(links for _, _, links in found))
        return NONE.union(*touched, self._slices.begin(work, causes, links))

    def _note_node(self, node: Node) -> None:
        self._cluster.nodes[node.name] = node
        # Only egress has nodes for peers.
        self._egress.touch_peer(node.ref)

    def _note_pod(self, pod: Pod) -> None:
        self._cluster.pods[pod.namespace, pod.name] = pod
        for side in self._sides:
            side.touch_peer(pod.ref)

    def _note_namespace(self, namespace: Namespace) -> None:
        self._cluster.namespaces[namespace.name] = namespace
        for side in self._sides:
            side.set_namespace(namespace)

    def _note_policy(self, policy: NetworkPolicy) -> frozenset[Key]:
        policies = self._policies.setdefault(policy.namespace, {})
        policies[policy.name] = policy
        return self._claim_sets.replace(
            _namespace(policy.namespace), self._plane.namespace(policy.namespace)
        )

    def _note_cluster_policy(self, policy: ClusterNetworkPolicy) -> frozenset[Key]:
        self._cluster_policies[policy.name] = policy
        return self._claim_sets.replace(policy.ref, self._plane.everywhere(policy))

    def _select_pod(self, name: Name) -> None:
        for link, subject in self._subjects.items():
            if (subject.workload.namespace, subject.workload.name) == name:
                self._select(link)

    def _select_within(self, namespace: str) -> None:
        for link, subject in self._subjects.items():
            if subject.workload.namespace == namespace:
                self._select(link)

    def _select(self, link: str) -> None:
        """Find the policies that select the pod behind a link, among all."""
        workload = self._subjects[link].workload
        pod = self._cluster.pods.get((workload.namespace, workload.name))
        if pod is None:
            doubtful = self.has_policies(workload.namespace)
            self._tell(link, Subject(workload, None, doubtful=doubtful))
            return
        namespace = self._cluster.namespaces.get(pod.namespace)
        near = self._policies.get(pod.namespace, {}).values()
        self._tell(
            link,
            Subject(
                workload,
                pod,
                tuple(self._budgets.given(policy) for policy in near if isolates(policy, pod)),
                tuple(
                    self._budgets.given(policy)
                    for policy in self._cluster_policies.values()
                    if selects(policy.subject, pod, namespace)
                ),
            ),
        )

    def _reselect(self, namespace: str, name: str, policy: NetworkPolicy | None) -> None:
        """Add, change or remove (None) a policy in the subjects that it selects or selected."""
        for link, subject in self._subjects.items():
            if subject.workload.namespace != namespace:
                continue
            if subject.pod is None:
                self._select(link)
                continue
            found = [other for other in subject.policies if other.name != name]
            if policy is not None and isolates(policy, subject.pod):
                found.append(policy)
            self._tell(link, msgspec.structs.replace(subject, policies=tuple(found)))

    def _reselect_everywhere(self, name: str, policy: ClusterNetworkPolicy | None) -> None:
        for link, subject in self._subjects.items():
            if subject.pod is None:
                self._select(link)
                continue
            found = [other for other in subject.cluster_policies if other.name != name]
            namespace = self._cluster.namespaces.get(subject.pod.namespace)
            if policy is not None and selects(policy.subject, subject.pod, namespace):
                found.append(policy)
            self._tell(link, msgspec.structs.replace(subject, cluster_policies=tuple(found)))

    def _tell(self, link: str, subject: Subject | None) -> None:
        if subject is not None:
            self._subjects[link] = subject
        for side in self._sides:
            side.set_subject(link, subject)


def _namespace(name: str) -> ObjectRef:
    """Who owns that a namespace has policies: the namespace, whichever policies those are."""
    return ObjectRef("Namespace", "", name)

"""Policies' elements kept current: which blocks of claims an event concerns.

A pod of this node has a block of its own and one more for each peer that policies let through to
it. A peer that changes costs its own blocks; a policy or a label of a pod of this node, the
blocks of the pods that it selects or is.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

import msgspec

from steppe.compile.policed import everywhere_claims, namespace_claims
from steppe.compile.policies import Subject, peer_claims, subject_claims, subject_of
from steppe.kube.cause import Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Pod, Workload
from steppe.kube.policies import Namespace, NetworkPolicy
from steppe.state.node import Key, NodeClaim

Name = tuple[str, str]
NONE: frozenset[Key] = frozenset()


class Blocks(Protocol):
    """Claims by owner."""

    def replace(self, owner: str, block: Iterable[NodeClaim | Problem]) -> frozenset[Key]: ...
    def keys(self, owner: str) -> Collection[Key]: ...


class PolicyObjects(msgspec.Struct, frozen=True):
    """All that policies depend on, besides the pods attached to a node."""

    pods: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    network_policies: tuple[NetworkPolicy, ...] = ()
    cluster_policies: tuple[ClusterNetworkPolicy, ...] = ()


def policy_claims(
    known: PolicyObjects, workloads: Iterable[Workload]
) -> Iterator[NodeClaim | Problem]:
    """Everything from scratch."""
    for namespace in {policy.namespace for policy in known.network_policies}:
        yield from namespace_claims(namespace)
    for policy in known.cluster_policies:
        yield from everywhere_claims(policy)
    pods = {(pod.namespace, pod.name): pod for pod in known.pods}
    namespaces = {namespace.name: namespace for namespace in known.namespaces}
    for workload in workloads:
        pod = pods.get((workload.namespace, workload.name))
        subject = subject_of(workload, pod, known.network_policies)
        yield from subject_claims(subject)
        for peer in pods.values():
            yield from peer_claims(subject, peer, namespaces)


class PolicyTables:
    """The policies over one node's pods; every method answers the keys to diff."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._pods: dict[Name, Pod] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._policies: dict[Name, NetworkPolicy] = {}
        self._cluster_policies: dict[str, ClusterNetworkPolicy] = {}
        self._workloads: dict[str, Workload] = {}
        self._subjects: dict[str, Subject] = {}
        self._peers: dict[str, set[Name]] = {}

    def knows(self, workload: Workload) -> bool:
        """Whether the pod's policies are known: the API has told of it, or nothing selects it."""
        return (workload.namespace, workload.name) in self._pods or not self.has_policies(
            workload.namespace
        )

    def has_policies(self, namespace: str) -> bool:
        """Whether any policy may select a pod of this namespace."""
        return bool(self._cluster_policies) or any(n[0] == namespace for n in self._policies)

    def keys(self, link: str) -> Iterator[Key]:
        """All that policies ask for because of the pod behind a link."""
        yield from self._blocks.keys(_owner(link))
        for peer in self._peers.get(link, ()):
            yield from self._blocks.keys(_owner(link, peer))

    def set_workload(self, link: str, workload: Workload | None) -> frozenset[Key]:
        """The pod behind a link, or None for nobody."""
        if workload is not None:
            self._workloads[link] = workload
        else:
            self._workloads.pop(link, None)
        return self._compile(link)

    def set_pod(self, pod: Pod) -> frozenset[Key]:
        if self._pods.get((pod.namespace, pod.name)) == pod:
            return NONE
        self._pods[pod.namespace, pod.name] = pod
        return self._compile_pod((pod.namespace, pod.name))

    def remove_pod(self, namespace: str, name: str) -> frozenset[Key]:
        self._pods.pop((namespace, name), None)
        return self._compile_pod((namespace, name))

    def set_namespace(self, namespace: Namespace) -> frozenset[Key]:
        if self._namespaces.get(namespace.name) == namespace:
            return NONE
        self._namespaces[namespace.name] = namespace
        return self._compile_namespace(namespace.name)

    def remove_namespace(self, name: str) -> frozenset[Key]:
        self._namespaces.pop(name, None)
        return self._compile_namespace(name)

    def set_policy(self, policy: NetworkPolicy) -> frozenset[Key]:
        self._policies[policy.namespace, policy.name] = policy
        return self._compile_all(policy.namespace)

    def remove_policy(self, namespace: str, name: str) -> frozenset[Key]:
        self._policies.pop((namespace, name), None)
        return self._compile_all(namespace)

    def set_cluster_policy(self, policy: ClusterNetworkPolicy) -> frozenset[Key]:
        self._cluster_policies[policy.name] = policy
        return self._blocks.replace(str(policy.ref), everywhere_claims(policy))

    def remove_cluster_policy(self, name: str) -> frozenset[Key]:
        policy = self._cluster_policies.pop(name, None)
        return self._blocks.replace(str(policy.ref), ()) if policy is not None else NONE

    def _compile_pod(self, name: Name) -> frozenset[Key]:
        """What a pod is concerns itself, if it is of this node, and all pods as a peer."""
        own = [w.link for w in self._workloads.values() if (w.namespace, w.name) == name]
        touched = [self._compile(link) for link in own]
        return NONE.union(*touched, *(self._pair(link, name) for link in self._subjects))

    def _compile_namespace(self, namespace: str) -> frozenset[Key]:
        names = [name for name in self._pods if name[0] == namespace]
        return NONE.union(*(self._pair(link, name) for link in self._subjects for name in names))

    def _compile_all(self, namespace: str) -> frozenset[Key]:
        links = [w.link for w in self._workloads.values() if w.namespace == namespace]
        block = namespace_claims(namespace) if self.has_policies(namespace) else ()
        touched = self._blocks.replace(f"policed {namespace}", block)
        return touched.union(*map(self._compile, links))

    def _compile(self, link: str) -> frozenset[Key]:
        """A pod of this node anew, unless nothing about it is."""
        workload = self._workloads.get(link)
        if workload is None:
            self._subjects.pop(link, None)
            gone = [
                self._blocks.replace(_owner(link, peer), ()) for peer in self._peers.pop(link, ())
            ]
            return self._blocks.replace(_owner(link), ()).union(*gone)
        pod = self._pods.get((workload.namespace, workload.name))
        subject = subject_of(workload, pod, self._policies.values())
        before = self._subjects.get(link)
        if subject == before:
            return NONE
        self._subjects[link] = subject
        touched = self._blocks.replace(_owner(link), subject_claims(subject))
        # Without policies nobody needs to be let through.
        peers = self._pods if subject.policies else tuple(self._peers.get(link, ()))
        return touched.union(*(self._pair(link, peer) for peer in peers))

    def _pair(self, link: str, name: Name) -> frozenset[Key]:
        subject, peer = self._subjects[link], self._pods.get(name)
        block = tuple(peer_claims(subject, peer, self._namespaces)) if peer is not None else ()
        known = self._peers.setdefault(link, set())
        if not block and name not in known:
            return NONE
        if block:
            known.add(name)
        else:
            known.discard(name)
        return self._blocks.replace(_owner(link, name), block)


def _owner(link: str, peer: Name | None = None) -> str:
    return f"policy {link} {'/'.join(peer)}" if peer is not None else f"policy {link}"

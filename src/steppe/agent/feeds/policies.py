"""Gives pods, namespaces, NetworkPolicies and ClusterNetworkPolicies to the compiler.

Fail closed: before all four lists are complete, nothing is compiled and so nothing in the kernel
changes. A policy that cannot be read denies all traffic of the pods that it may select: those of
its namespace, or of the cluster. Only if the server does not have the kind ClusterNetworkPolicy
(404), an empty list is assumed.
"""

from collections.abc import Iterable

from steppe.agent.feeds.behind import Behind
from steppe.agent.feeds.feed import Follow, Together, applied
from steppe.agent.hurry import Hurry
from steppe.client.informer import WatchEvent
from steppe.client.mirror import Kind, Mirror, Name
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    NAMESPACES,
    NETWORKPOLICIES,
    PODS,
)
from steppe.compile.incremental import NodeCompiler
from steppe.compile.policy_tables import PolicyObjects
from steppe.kube import policy_wire, wire
from steppe.kube.cause import Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule, cluster_policy_from
from steppe.kube.objects import Pod, pod_from
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Namespace,
    NetworkPolicy,
    Pods,
    namespace_from,
    network_policy_from,
)
from steppe.kube.selectors import EVERYTHING
from steppe.state.node import Key


def _namespace(seen: policy_wire.Namespace) -> tuple[Namespace, tuple[Problem, ...]]:
    return namespace_from(seen), ()


def _closed(name: Name) -> NetworkPolicy:
    return NetworkPolicy(*name, pods=EVERYTHING, isolates=frozenset(("ingress", "egress")))


def _closed_everywhere(name: Name) -> ClusterNetworkPolicy:
    everything = (ClusterRule("spec", "", "Deny", (Anyone(),), (AnyTraffic(),)),)
    return ClusterNetworkPolicy(name[1], "Admin", 0, Pods(), everything, everything)


POD = Kind(resource=PODS, wire=wire.Pod, parse=pod_from)
NAMESPACE = Kind(resource=NAMESPACES, wire=policy_wire.Namespace, parse=_namespace)
POLICY = Kind(
    resource=NETWORKPOLICIES,
    wire=policy_wire.NetworkPolicy,
    parse=network_policy_from,
    stand_in=_closed,
    instead="until then it closes all pods of its namespace, in both directions",
)
CLUSTER_POLICY = Kind(
    resource=CLUSTERNETWORKPOLICIES,
    wire=policy_wire.ClusterNetworkPolicy,
    parse=cluster_policy_from,
    stand_in=_closed_everywhere,
    instead="until then it closes all pods of the cluster, in both directions",
    may_be_absent=True,
)


class PolicyFeed:
    """Keeps the compiler's policies, and the objects they select, equal to those of the API."""

    def __init__(self, compiler: NodeCompiler, hurry: Hurry | None = None) -> None:
        self._tables = compiler.policies
        self.behind = Behind(self._tables, hurry)
        """Its long work."""
        self._pods = Mirror(POD)
        self._namespaces = Mirror(NAMESPACE)
        self._policies = Mirror(POLICY)
        self._cluster_policies = Mirror(CLUSTER_POLICY)
        self._all = Together(
            self._load, self._pods, self._namespaces, self._policies, self._cluster_policies
        )

    @property
    def complete(self) -> bool:
        """Whether all four lists have been seen, or that the last is not to be had, and what they
        come to is worked out.
        """
        return self._all.complete and self._tables.loaded

    @property
    def problems(self) -> tuple[Problem, ...]:
        # Without the Problems about parts of Pods and Namespaces: they do not concern policies.
        peers = (*self._pods.doubts, *self._namespaces.doubts)
        return (*peers, *self._policies.problems, *self._cluster_policies.problems)

    @property
    def pods(self) -> Iterable[Pod]:
        """All readable pods of the cluster."""
        return self._pods.known.values()

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (
            Follow(POD, self.take_pod),
            Follow(NAMESPACE, self.take_namespace),
            Follow(POLICY, self.take_policy),
            Follow(CLUSTER_POLICY, self.take_cluster_policy),
        )

    def take_pod(self, event: WatchEvent[wire.Pod]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._all.take(self._pods, event, self._set_pods)

    def take_namespace(self, event: WatchEvent[policy_wire.Namespace]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._all.take(self._namespaces, event, self._set_namespaces)

    def take_policy(self, event: WatchEvent[policy_wire.NetworkPolicy]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._all.take(self._policies, event, self._set_policies)

    def take_cluster_policy(
        self, event: WatchEvent[policy_wire.ClusterNetworkPolicy]
    ) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._all.take(self._cluster_policies, event, self._set_cluster_policies)

    def _load(self) -> frozenset[Key]:
        objects = PolicyObjects(
            tuple(self._pods.known.values()),
            tuple(self._namespaces.known.values()),
            tuple(self._policies.known.values()),
            tuple(self._cluster_policies.known.values()),
        )
        return self._tables.learn(objects)

    def _set_pods(self, changed: dict[Name, Pod | None]) -> frozenset[Key]:
        tables = self._tables
        return applied(changed, tables.set_pod, lambda name: tables.remove_pod(*name))

    def _set_namespaces(self, changed: dict[Name, Namespace | None]) -> frozenset[Key]:
        tables = self._tables
        return applied(changed, tables.set_namespace, lambda name: tables.remove_namespace(name[1]))

    def _set_policies(self, changed: dict[Name, NetworkPolicy | None]) -> frozenset[Key]:
        tables = self._tables
        return applied(changed, tables.set_policy, lambda name: tables.remove_policy(*name))

    def _set_cluster_policies(
        self, changed: dict[Name, ClusterNetworkPolicy | None]
    ) -> frozenset[Key]:
        tables = self._tables
        remove = tables.remove_cluster_policy
        return applied(changed, tables.set_cluster_policy, lambda name: remove(name[1]))

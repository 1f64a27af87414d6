"""Pods, namespaces, NetworkPolicies and ClusterNetworkPolicies into the compiler.

Fail closed: nothing is compiled, and so nothing in the kernel changes, before all four lists are
there. A policy that cannot be read closes all pods that it may mean: its namespace's, or the
cluster's. A list that the API server refuses is not an empty one, and leaves what was known before
as it was. Only where the server has no ClusterNetworkPolicies at all there are none.
"""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted, WatchEvent
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    NAMESPACES,
    NETWORKPOLICIES,
    PODS,
    Resource,
)
from steppe.compile.incremental import NodeCompiler
from steppe.compile.policy_tables import PolicyObjects
from steppe.kube import policy_wire, wire
from steppe.kube.cause import Cause, ObjectRef, Problem
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

Name = tuple[str, str]
FORBIDDEN, NOT_FOUND = 403, 404
NONE: frozenset[Key] = frozenset()


class _Seen(Protocol):
    @property
    def metadata(self) -> wire.ObjectMeta: ...


W = TypeVar("W", bound=_Seen)
T = TypeVar("T")


class _Kind(Generic[W, T]):
    """The objects of one kind, as the API has them."""

    def __init__(
        self,
        resource: Resource,
        parse: Callable[[W], tuple[T, tuple[Problem, ...]]],
        unreadable: Callable[[Name], T] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        self._resource = resource
        self._optional = optional
        self._parse = parse
        self._unreadable = unreadable
        self.known: dict[Name, T] = {}
        self.problems: dict[Name, tuple[Problem, ...]] = {}
        self.refusal: tuple[Problem, ...] = ()
        """Why the API server does not tell of the objects, while it does not."""
        self.listed = False

    def take(self, event: WatchEvent[W]) -> dict[Name, T | None]:
        """What there is now under the names that the event is about; None for nothing."""
        match event:
            case Replaced(items):
                now = {_name(item): item for item in items}
                gone = (self.known.keys() | self.problems.keys()) - now.keys()
                self.listed, self.refusal = True, ()
                return self._forget(*gone) | {
                    name: self._learn(name, item) for name, item in now.items()
                }
            case Upserted(item):
                return {_name(item): self._learn(_name(item), item)}
            case Deleted(item):
                return self._forget(_name(item))
            case Unreadable(deleted=True):
                return self._forget((event.namespace, event.name))
            case Unreadable():
                return self._doubt((event.namespace, event.name), event.error)
            case Refused(status):
                self._refuse(status)
        return {}

    def _learn(self, name: Name, seen: W) -> T:
        self.known[name], problems = self._parse(seen)
        self.problems.pop(name, None)
        if problems:
            self.problems[name] = problems
        return self.known[name]

    def _forget(self, *names: Name) -> dict[Name, T | None]:
        for name in names:
            self.known.pop(name, None)
            self.problems.pop(name, None)
        return dict.fromkeys(names)

    def _doubt(self, name: Name, error: str) -> dict[Name, T | None]:
        """What was known serves on, but where something is put in its place that is closed."""
        kind = self._resource.kind
        cause = Cause(ObjectRef(kind, *name))
        self.problems[name] = (Problem(cause, f"not readable as a {kind}: {error}"),)
        if self._unreadable is None:
            return {}
        self.known[name] = self._unreadable(name)
        return {name: self.known[name]}

    def _refuse(self, status: int) -> None:
        what, group = self._resource.plural, self._resource.group
        if status == NOT_FOUND and self._optional and not self.known:
            self.listed, self.refusal = True, ()
            return
        if status == FORBIDDEN:
            why = (
                f"the API server forbids this agent to list them (403): have its ClusterRole allow "
                f'list and watch of resources ["{what}"] in apiGroups ["{group}"]'
            )
        else:
            why = f"the API server knows no {what} of {self._resource.api_version} ({status})"
        held = "those known before hold" if self.listed else "until then no pod starts"
        cause = Cause(ObjectRef(self._resource.kind, "", ""))
        self.refusal = (Problem(cause, f"{why}; {held}"),)


class PolicyFeed:
    """Keeps what the compiler knows of policies that of the API, each with what is wrong."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self._tables = compiler.policies
        self._pods = _Kind(PODS, pod_from)
        self._namespaces = _Kind(NAMESPACES, _namespace)
        self._policies = _Kind(NETWORKPOLICIES, network_policy_from, _closed)
        self._cluster_policies = _Kind(
            CLUSTERNETWORKPOLICIES, cluster_policy_from, _closed_everywhere, optional=True
        )
        self._kinds = (self._pods, self._namespaces, self._policies, self._cluster_policies)

    @property
    def complete(self) -> bool:
        """Whether all four lists have been seen, or that the last is not to be had."""
        return all(kind.listed for kind in self._kinds)

    @property
    def problems(self) -> tuple[Problem, ...]:
        refusals = (problem for kind in self._kinds for problem in kind.refusal)
        # What is wrong with a Pod or a Namespace is not for policy to tell.
        policies = (self._policies.problems, self._cluster_policies.problems)
        found = (p for problems in policies for group in problems.values() for p in group)
        return (*refusals, *found)

    @property
    def pods(self) -> Iterable[Pod]:
        """All pods of the cluster that can be read."""
        return self._pods.known.values()

    def take_pod(self, event: WatchEvent[wire.Pod]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        before = self.complete
        return self._to_compiler(before, self._set_pods, self._pods.take(event))

    def take_namespace(self, event: WatchEvent[policy_wire.Namespace]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        before = self.complete
        return self._to_compiler(before, self._set_namespaces, self._namespaces.take(event))

    def take_policy(self, event: WatchEvent[policy_wire.NetworkPolicy]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        before = self.complete
        return self._to_compiler(before, self._set_policies, self._policies.take(event))

    def take_cluster_policy(
        self, event: WatchEvent[policy_wire.ClusterNetworkPolicy]
    ) -> frozenset[Key]:
        """Answers the keys the event touched."""
        before = self.complete
        changed = self._cluster_policies.take(event)
        return self._to_compiler(before, self._set_cluster_policies, changed)

    def _to_compiler(
        self,
        was_complete: bool,
        set_: Callable[[dict[Name, T | None]], frozenset[Key]],
        changed: dict[Name, T | None],
    ) -> frozenset[Key]:
        """With the last of the lists, everything known goes to the compiler at once."""
        if not self.complete:
            return NONE
        if was_complete:
            return set_(changed)
        objects = PolicyObjects(
            tuple(self._pods.known.values()),
            tuple(self._namespaces.known.values()),
            tuple(self._policies.known.values()),
            tuple(self._cluster_policies.known.values()),
        )
        return self._tables.learn(objects)

    def _set_pods(self, changed: dict[Name, Pod | None]) -> frozenset[Key]:
        return NONE.union(
            *(
                self._tables.set_pod(pod) if pod is not None else self._tables.remove_pod(*name)
                for name, pod in changed.items()
            )
        )

    def _set_namespaces(self, changed: dict[Name, Namespace | None]) -> frozenset[Key]:
        return NONE.union(
            *(
                self._tables.set_namespace(namespace)
                if namespace is not None
                else self._tables.remove_namespace(name)
                for (_, name), namespace in changed.items()
            )
        )

    def _set_policies(self, changed: dict[Name, NetworkPolicy | None]) -> frozenset[Key]:
        return NONE.union(
            *(
                self._tables.set_policy(policy)
                if policy is not None
                else self._tables.remove_policy(*name)
                for name, policy in changed.items()
            )
        )

    def _set_cluster_policies(
        self, changed: dict[Name, ClusterNetworkPolicy | None]
    ) -> frozenset[Key]:
        return NONE.union(
            *(
                self._tables.set_cluster_policy(policy)
                if policy is not None
                else self._tables.remove_cluster_policy(name)
                for (_, name), policy in changed.items()
            )
        )


def _namespace(seen: policy_wire.Namespace) -> tuple[Namespace, tuple[Problem, ...]]:
    return namespace_from(seen), ()


def _closed(name: Name) -> NetworkPolicy:
    return NetworkPolicy(*name, pods=EVERYTHING, isolates=frozenset(("ingress", "egress")))


def _closed_everywhere(name: Name) -> ClusterNetworkPolicy:
    everything = (ClusterRule("spec", "", "Deny", (Anyone(),), (AnyTraffic(),)),)
    return ClusterNetworkPolicy(name[1], "Admin", 0, Pods(), everything, everything)


def _name(item: _Seen) -> Name:
    return (item.metadata.namespace, item.metadata.name)

"""Look-ups for the checks: pods by selector, and the ports that pods declare."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from steppe.judge.doubts import Doubts
from steppe.kube import policy_wire, wire
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction, Namespace, NetworkPolicy, Pods
from steppe.kube.selectors import Selector
from steppe.manifests.cluster import Loaded
from steppe.manifests.documents import readable
from steppe.reach.matrix import Mask
from steppe.reach.reach import Reach, reach_of

PortNumber = tuple[str, int]
"""Protocol and number."""


class Facts:
    """Look-ups in one loaded cluster; each result is computed once.

    Invariant: all results are functions of the loaded cluster, so they never change.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.cluster = loaded.cluster
        self._selected: dict[Pods, tuple[Pod, ...]] = {}

    @cached_property
    def reach(self) -> Reach:
        return reach_of(self.cluster, settings=self.loaded.settings)

    def selected(self, pods: Pods) -> tuple[Pod, ...]:
        """The selected pods, with host-network pods, to which policies do not apply."""
        if pods not in self._selected:
            self._selected[pods] = tuple(
                pod
                for namespace, inside in self._by_namespace.items()
                if self._matches(pods, namespace)
                for pod in inside
                if pods.pods.matches(pod.labels)
            )
        return self._selected[pods]

    @cached_property
    def live(self) -> bool:
        """Whether this is all of a cluster. Manifests describe a part of one: they have no Nodes,
        and pods and namespaces of other manifests may stand beside theirs.
        """
        nodes = [node.ref for node in self.cluster.nodes.values()]
        return bool(nodes) and self.loaded.invented.isdisjoint(nodes)

    def is_whole(self, namespace: str) -> bool:
        """Whether the pods of a namespace are known, so that "no pod" may be concluded from them.

        Manifests without any pod of the namespace say nothing about its pods, and neither do those
        with objects that make pods and are not read.
        """
        if self.loaded.pods_unknown(namespace):
            return False
        return self.live or bool(self._by_namespace.get(namespace))

    def unknown_pods(self, namespace: str) -> str:
        """Why the pods of a namespace are not known, as a clause."""
        reason = self.loaded.pods_unknown(namespace)
        return reason or "no pod of that namespace is known here"

    @cached_property
    def doubts(self) -> Doubts:
        """What is not known of policies and endpoints: nothing is concluded where these matter."""
        return Doubts(self.cluster)

    def spaces(self, selector: Selector) -> tuple[Namespace, ...]:
        """The namespaces with these labels."""
        known = self.cluster.namespaces.values()
        return tuple(space for space in known if selector.matches(space.labels))

    def written(self, policy: NetworkPolicy) -> policy_wire.NetworkPolicy | None:
        """The policy as it was written, before defaults; None if it is not readable."""
        document = self.loaded.objects.get(policy.ref)
        return None if document is None else readable(document, policy_wire.NetworkPolicy)

    def pods_in(self, namespace: str) -> Iterable[Pod]:
        """The pods of a namespace that are not finished."""
        return self._by_namespace.get(namespace, ())

    def declared(self, pods: Iterable[Pod]) -> frozenset[PortNumber]:
        """The ports that these pods declare; none if one of the pods declares none."""
        return self.declared_by(pod.ref for pod in pods)

    def declared_by(self, refs: Iterable[ObjectRef]) -> frozenset[PortNumber]:
        """`declared`, for pods by name."""
        found: set[PortNumber] = set()
        for ref in refs:
            own = self._declared.get(ref, frozenset())
            if not own:
                return frozenset()
            found |= own
        return frozenset(found)

    def wire_pods(self, namespace: str) -> Iterable[wire.Pod]:
        """The pods of a namespace that are not finished, as wire shapes."""
        return self._wire_pods.get(namespace, {}).values()

    @cached_property
    def taking(self) -> Mapping[Direction, Mapping[Cause, Mask]]:
        """By direction: rule → the identities that it matches.

        Without rules that match everyone.
        """
        found: dict[Direction, dict[Cause, Mask]] = {"ingress": {}, "egress": {}}
        for direction, masks in found.items():
            for number, identity in enumerate(self.reach.classes.identities[direction].values):
                for cause in identity.rules:
                    masks[cause] = masks.get(cause, 0) | 1 << number
        return found

    def _matches(self, pods: Pods, namespace: str) -> bool:
        if pods.within:
            return pods.within == namespace
        known = self.cluster.namespaces.get(namespace)
        return known is not None and pods.namespaces.matches(known.labels)

    @cached_property
    def _by_namespace(self) -> Mapping[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for pod in self.cluster.pods.values():
            if not pod.finished:
                found.setdefault(pod.namespace, []).append(pod)
        return found

    @cached_property
    def _wire_pods(self) -> Mapping[str, Mapping[ObjectRef, wire.Pod]]:
        found: dict[str, dict[ObjectRef, wire.Pod]] = {}
        for ref, document in self.loaded.objects.items():
            pod = readable(document, wire.Pod) if ref.kind == "Pod" else None
            if pod is not None and pod.status.phase not in ("Succeeded", "Failed"):
                found.setdefault(ref.namespace, {})[ref] = pod
        return found

    @cached_property
    def _declared(self) -> Mapping[ObjectRef, frozenset[PortNumber]]:
        by_namespace = self._wire_pods.values()
        return {ref: _ports(pod.spec) for pods in by_namespace for ref, pod in pods.items()}


def _ports(spec: wire.PodSpec) -> frozenset[PortNumber]:
    """The ports of every container, with init containers: none must be missed."""
    containers = (*(spec.containers or ()), *(spec.init_containers or ()))
    return frozenset((p.protocol, p.container_port) for c in containers for p in c.ports or ())


def written_rules(
    policy: policy_wire.NetworkPolicy,
) -> Iterator[tuple[str, tuple[policy_wire.IngressRule | policy_wire.EgressRule, ...]]]:
    """The rules of each direction as written, with the field they stand in."""
    yield "spec.ingress", policy.spec.ingress or ()
    yield "spec.egress", policy.spec.egress or ()

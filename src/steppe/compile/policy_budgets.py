"""Which policies are closed because all of a namespace are too much together, kept current."""

from collections.abc import Iterator

from steppe.kube.cause import ObjectRef
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.policies import NetworkPolicy
from steppe.kube.policy_budget import P, Size, closed, size_of, too_much

NONE: frozenset[ObjectRef] = frozenset()


class Budgets:
    """Of each namespace; "" is that of all ClusterNetworkPolicies.

    Invariant: `closed` has what `too_much` says of the policies that are known now.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, dict[ObjectRef, Size]] = {}
        self._totals: dict[str, Size] = {}
        self._closed: dict[str, frozenset[ObjectRef]] = {}

    def put(self, policy: NetworkPolicy | ClusterNetworkPolicy) -> frozenset[ObjectRef]:
        """Answers the policies that are closed now or not, and were not or were."""
        return self._change(policy.ref, size_of(policy))

    def drop(self, ref: ObjectRef) -> frozenset[ObjectRef]:
        """As `put`, for a policy that is gone."""
        return self._change(ref, None) - {ref}

    def is_closed(self, ref: ObjectRef) -> bool:
        return ref in self._closed.get(ref.namespace, NONE)

    def given(self, policy: P) -> P:
        """The policy as it is in force."""
        if not self._closed:
            return policy
        return closed(policy) if self.is_closed(policy.ref) else policy

    def closed(self) -> Iterator[ObjectRef]:
        for some in self._closed.values():
            yield from some

    def _change(self, ref: ObjectRef, size: Size | None) -> frozenset[ObjectRef]:
        space = ref.namespace
        sizes, total = self._sizes.setdefault(space, {}), self._totals.get(space, Size())
        before = sizes.pop(ref, None)
        if before is not None:
            total -= before
        if size is not None:
            sizes[ref] = size
            total += size
        self._totals[space] = total
        was = self._closed.pop(space, NONE)
        # Nearly always all fit, and then the others need not be looked at.
        found = NONE if total.fits else too_much(sizes)
        if found:
            self._closed[space] = found
        if not sizes:
            del self._sizes[space], self._totals[space]
        return was ^ found

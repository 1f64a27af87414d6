"""Which namespaces have policies, stored in the kernel for an agent that cannot reach the API.

An agent that starts while the API is away knows no policies. From what an earlier agent has stored
here it knows in which namespaces a pod may start without waiting for policies, and in which not.

    policed    0            all policies were known when this was written
               1            ClusterNetworkPolicies, which may select any pod
               3735928559   a namespace, by a hash of its name, that has a NetworkPolicy

If two names have the same hash, pods of both wait; a pod never starts too early by that.
"""

from collections.abc import Container, Iterator
from hashlib import sha256

from steppe.dataplane.nft.sets import POLICED
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Node
from steppe.state.claim import Claim
from steppe.state.nft import Element
from steppe.state.node import Key, NodeClaim

_KNOWN, _EVERYWHERE, _FIRST_HASH = 0, 1, 2


def known_claims(here: Node) -> Iterator[NodeClaim]:
    """The mark that all policies are known. The kernel is not changed before they are, so the
    node's own claims always have it.
    """
    yield _claim(_KNOWN, Cause(here.ref))


def namespace_claims(namespace: str) -> Iterator[NodeClaim]:
    """The element for a namespace that has a policy."""
    yield _claim(_number(namespace), Cause(ObjectRef("Namespace", "", namespace)))


def everywhere_claims(policy: ClusterNetworkPolicy) -> Iterator[NodeClaim]:
    """The element for a policy that may select pods of any namespace."""
    yield _claim(_EVERYWHERE, Cause(policy.ref))


def may_have_policies(kernel: Container[Key], namespace: str) -> bool:
    """Whether, by what a kernel has stored, a policy may select pods of the namespace.

    True if the kernel has no record of complete policies.
    """
    if POLICED.key(_KNOWN) not in kernel:
        return True
    return POLICED.key(_EVERYWHERE) in kernel or POLICED.key(_number(namespace)) in kernel


def _claim(number: int, cause: Cause) -> NodeClaim:
    return Claim(POLICED.key(number), Element(), cause)


def _number(namespace: str) -> int:
    digest = sha256(namespace.encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_HASH)

"""Which namespaces have policies, written down in the kernel for an agent that cannot ask.

An agent that starts while the API is away knows of no policy at all. What an earlier one has left
here still tells a namespace where a pod may start from one where its policies would be missing.

    policed    0            that the policies were known when this was written
               1            ClusterNetworkPolicies, which may select any pod
               3735928559   a namespace, by a hash of its name, that has a NetworkPolicy

Two names with one hash close more than need be, never less.
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
    """Nothing is written before all policies are known, so this may always be among it."""
    yield _claim(_KNOWN, Cause(here.ref))


def namespace_claims(namespace: str) -> Iterator[NodeClaim]:
    """What a namespace that has a policy asks for."""
    yield _claim(_number(namespace), Cause(ObjectRef("Namespace", "", namespace)))


def everywhere_claims(policy: ClusterNetworkPolicy) -> Iterator[NodeClaim]:
    """What a policy asks for that may select pods of any namespace."""
    yield _claim(_EVERYWHERE, Cause(policy.ref))


def may_have_policies(kernel: Container[Key], namespace: str) -> bool:
    """Whether a pod of the namespace may be under a policy, for all that a kernel holds."""
    if POLICED.key(_KNOWN) not in kernel:
        return True
    return POLICED.key(_EVERYWHERE) in kernel or POLICED.key(_number(namespace)) in kernel


def _claim(number: int, cause: Cause) -> NodeClaim:
    return Claim(POLICED.key(number), Element(), cause)


def _number(namespace: str) -> int:
    digest = sha256(namespace.encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_HASH)

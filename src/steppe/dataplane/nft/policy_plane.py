"""nftables as a PolicyPlane: the elements of guards and peers in the sets and maps."""

from steppe.dataplane.nft.policies import (
    allowed_claims,
    block_claims,
    guard_claims,
    overfull,
    peer_claim,
)
from steppe.dataplane.nft.policy_memory import (
    everywhere_claims,
    known_claims,
    may_have_policies,
    namespace_claims,
)
from steppe.dataplane.nft.sets import is_policy, is_policy_set

guard, allowed, peer, block = guard_claims, allowed_claims, peer_claim, block_claims
known, namespace, everywhere = known_claims, namespace_claims, everywhere_claims

__all__ = (
    "allowed",
    "block",
    "everywhere",
    "guard",
    "is_policy",
    "is_policy_set",
    "known",
    "may_have_policies",
    "namespace",
    "overfull",
    "peer",
)

"""Numbers for identities: what stands for one in tables that hold no more than 32 bits.

Numbers are made from what an identity stands for, so a restarted agent, and any other, finds the
same. Two identities may share one by chance; their peers may then do only what both may.
"""

from collections.abc import Callable
from hashlib import sha256

from steppe.policy.identities import NOBODY, Identity

NO_NUMBER = 0
"""Nobody in particular: a peer that no rule of this node's pods takes."""
ITSELF = 1
"""A pod that calls itself."""
_FIRST_HASH = 2

Numbering = Callable[[Identity], int]


def number_of(identity: Identity) -> int:
    """The number that stands for an identity: 32 bits of a hash of it."""
    if identity == NOBODY:
        return NO_NUMBER
    rules = sorted(map(str, identity.rules))
    ports = sorted(f"{port.protocol} {port.number} {port.name}" for port in identity.ports)
    digest = sha256("\n".join((*rules, "", *ports)).encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_HASH)

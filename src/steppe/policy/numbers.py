"""Numbers for identities, for tables whose fields have 32 bits.

A number is a hash of the identity's value, so every agent computes the same one, also after a
restart. Two identities may have the same number by chance: their peers are then allowed only what
both are.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

from steppe.kube.cause import Cause
from steppe.policy.identities import NOBODY, Identity

NO_NUMBER = 0
"""The number of peers that no rule of this node's pods matches."""
ITSELF = 1
"""The number for a pod's packets to itself."""
_FIRST_HASH = 2

Numbering = Callable[[Identity], int]


def number_of(identity: Identity) -> int:
    """The number of an identity: 32 bits of a hash of it."""
    if identity == NOBODY:
        return NO_NUMBER
    rules = sorted(map(_text, identity.rules))
    ports = sorted(f"{port.protocol} {port.number} {port.name}" for port in identity.ports)
    digest = sha256("\n".join((*rules, "", *ports)).encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_HASH)


@lru_cache(maxsize=1 << 13)
def _text(cause: Cause) -> str:
    """A policy may have 500 rules, and as many identities that hundreds of these take."""
    return str(cause)

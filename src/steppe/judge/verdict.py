"""A verdict: whether a connection is possible, by each endpoint that it may be led to, and why.

yes      every endpoint that may be chosen takes the connection
partly   some do, others do not
no       none does
unknown  it hangs on something that the objects at hand do not tell (kube/doubt.py)
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.doubt import Doubt
from steppe.net.address import IPAddress

Said = Literal["yes", "partly", "no", "unknown"]
Stopped = Literal["", "refused", "dropped", "barred"]
"""Why a connection has no endpoint at all: `refused` (the Service has none, or not this port),
`dropped` (no endpoint on this node, or nobody has the address), `barred` (loadBalancerSourceRanges
do not have the sender). "" where there is an endpoint."""


class Way(msgspec.Struct, frozen=True):
    """One endpoint that the connection may be led to; all ways of a verdict are equally likely.

    `source` is the sender that the receiver's policies see: a node's address where the node `by`
    masquerades what leaves it. `received` is the one that the receiver itself sees, also on that
    node. `said` is never "partly". `because` are the rules that let it through, or the
    objects that do not; for "unknown" see `doubts`. `lost`: policies let it through, but nobody has
    the address, or nobody takes packets to it from outside.
    """

    address: IPAddress
    port: int
    source: IPAddress
    received: IPAddress
    said: Said
    because: tuple[Cause, ...] = ()
    by: str = ""
    doubts: tuple[Doubt, ...] = ()
    lost: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """The answer for one packet. Without ways, `stop` says why and `because` who.

    `doubts` are those that turn the answer; () unless it is "unknown".
    """

    said: Said
    ways: tuple[Way, ...] = ()
    stop: Stopped = ""
    because: tuple[Cause, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def all_of(answers: Iterable[Said]) -> Said:
    """The answer for all of these together; "unknown" as soon as one is."""
    seen = set(answers)
    if "unknown" in seen:
        return "unknown"
    if len(seen) > 1:
        return "partly"
    return seen.pop() if seen else "no"


def both(one: Said, other: Said) -> Said:
    """Whether two ends together let a connection through: a no at one end decides alone."""
    if "no" in (one, other):
        return "no"
    return "unknown" if "unknown" in (one, other) else "yes"
